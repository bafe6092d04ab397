"""Does a loss serve some sizes at the expense of others? (C8)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import Comparison, cell_mean, families

TITLE = "small against large"
EXPECTED = 0
MARGIN = 0.095
WHY = (
    "0: no sizes are served at the expense of others. The raw loss favours large structures, "
    "which is above 0, the per-atom loss small ones, which is below. 0.095 = log 1.1 is ten per "
    "cent."
)
SCOPE = "runs"
REFERENCE = "standardized"


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield how much a loss shifts error from large to small structures against standardized.

    ``log(RMSE_small / RMSE_small^std) − log(RMSE_large / RMSE_large^std)``, the smallest and the
    largest size group of the test structures, same seeds and force weight in both, averaged over
    the force weights. Positive: the loss favours large structures at the expense of small ones.
    What a loss gains or loses for all sizes alike cancels, and so does the standardisation.
    """
    choose(options, {}, "size_tradeoff")
    small, large = extreme_sizes(data)
    for loss in [name for name in data.losses if name != REFERENCE]:
        yield sampling.interval(
            shift(data, loss),
            families(data.tested()),
            len(data.of(loss, data.force_weights[0])),
            loss=loss,
            group=f"{small} against {large} atoms",
        )


def extreme_sizes(data: Comparison) -> tuple[str, str]:
    """Return the names of the smallest and of the largest size group of the test structures.

    Raises
    ------
    NotMeasurable
        When there is one group, or no run of the loss that others are compared with.
    """
    if REFERENCE not in data.losses:
        raise NotMeasurable(f"{data.dataset}: no run of loss {REFERENCE}")
    order = data.tested().groupby("size_group").n_atoms.mean().sort_values().index
    if len(order) < 2:
        raise NotMeasurable("all test structures are in one size group")
    return str(order[0]), str(order[-1])


def shift(data: Comparison, loss: str) -> Callable[[Array], Array]:
    """Return the shift of error as a function of weights (B, n_seeds, K) of the test structures."""
    table = data.tested()
    small, large = ((table.size_group == name).to_numpy() for name in extreme_sizes(data))
    pairs = [
        tuple(data.values(name, w, lambda t: t.energy_error**2) for name in (loss, REFERENCE))
        for w in data.force_weights
    ]

    def log_ratio(mask: NDArray[np.bool_], weights: Array) -> Array:
        means = [[cell_mean(v[:, mask], weights[:, :, mask]) for v in pair] for pair in pairs]
        return np.asarray(np.mean([0.5 * np.log(one / other) for one, other in means], axis=0))

    return lambda weights: log_ratio(small, weights) - log_ratio(large, weights)
