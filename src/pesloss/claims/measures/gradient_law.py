"""Is a structure's share of the gradient what science.md §3 says it is? (C5)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss import losses
from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures.jacobian_exponent import gradients_at
from pesloss.claims.measures.loss_signal_slope import last_window
from pesloss.claims.runs import Comparison, families
from pesloss.inference import exponent_of

TITLE = "exponent of gradient less α + β − p"
EXPECTED = 0
MARGIN = 0.1
WHY = (
    "0 where errors and gradients of energies are independent at a given size. 0.1 is a fifth of "
    "the distance between ½ and 1; over two decades of size it makes a factor 1.6."
)
SCOPE = "runs"
RUN_INPUTS = ("gradient_signal.csv", "loss_signal.csv.gz")
STANDARDIZED = "standardized"


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the exponent of the gradient norm less ``α + β − p``, late in training.

    With the energy term ``ℓ = ΔE²/s²``, ``s² ∝ N^p``, the gradient is ``g = 2 ΔE/s² · ∂Ê/∂θ``, so
    ``g² = 4 ℓ ‖∂Ê/∂θ‖² / s²``. Means at a given size multiply when errors and gradients of
    energies are independent there; then, with ``x`` the exponent of ``⟨x²⟩ ∝ N^(2x)``,

        exponent of g  =  exponent of √ℓ  +  β  −  p/2,    exponent of √ℓ = α − p/2,

    which is ``α + β − p``. The term is that of the last window of steps, the gradients those at
    its end, both on the structures that have both. For the standardized loss p is the slope of
    ``log Σ σ_z²`` on log N over these structures: 1 for one species. Each loss stands at its own
    best weight; losses whose s² is no power of N, and other metrics than MSE, have no such law.
    """
    choose(options, {}, "gradient_law")
    if data.metric != "mse":
        raise NotMeasurable(f"{data.dataset}: the law is one of squared errors, not {data.metric}")
    for loss in data.losses:
        if loss != STANDARDIZED and losses.size_exponent(loss) is None:
            yield NotMeasurable(f"{loss}: s² is no power of N")
            continue
        yield _measured(data, loss, sampling)


def _measured(data: Comparison, loss: str, sampling: Sampling) -> Measurement | NotMeasurable:
    weight = data.best_weight(loss)
    table, term, gradient, jacobian = _signals(data, loss, weight)
    if table.n_atoms.nunique() < 2:
        raise NotMeasurable(f"{data.dataset}: the signal has fewer than two sizes")
    n_seeds = len(term)
    sizes = np.tile(table.n_atoms.to_numpy(float), n_seeds)
    scale = np.tile(table.energy_scale.to_numpy() ** 2, n_seeds)

    def statistic(weights: Array) -> Array:
        flat = weights.reshape(len(weights), -1)
        values = (term.ravel(), gradient.ravel() ** 2, jacobian.ravel() ** 2)
        loss_root, found, beta = (exponent_of(sizes, value, flat) for value in values)
        p = losses.size_exponent(loss)
        half = exponent_of(sizes, scale, flat) if p is None else p / 2
        return np.asarray(found - (loss_root + beta - half))

    about = {"loss": loss, "force_weight": weight}
    return sampling.interval(statistic, families(table), n_seeds, **about)


def _signals(
    data: Comparison, loss: str, weight: float
) -> tuple[pd.DataFrame, Array, Array, Array]:
    """Return the structures seen by every seed and, (n_seeds, K), terms and norms."""
    runs = data.of(loss, weight)
    terms = [last_window(result) for result in runs]
    norms = [gradients_at(result, "end") for result in runs]
    seen = [set(part.index) for part in terms] + [set(part.index) for part in norms]
    shared = sorted(set.intersection(*seen))
    table = data.labels.set_index("structure").loc[shared].reset_index()
    gradient, jacobian = (
        np.stack([part.loc[shared, name].to_numpy(float) for part in norms])
        for name in ("energy_gradient", "energy_jacobian")
    )
    return table, np.stack([part.loc[shared].to_numpy() for part in terms]), gradient, jacobian
