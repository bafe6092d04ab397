"""The weightings that are compared: powers of N, and the losses with fitted scales."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pesloss import losses
from pesloss.scales.scales import Scales

Array = NDArray[np.float64]

EXPONENTS = np.arange(-4, 15) / 4
"""p of ``1/N^p``, beyond [0, 3] on both sides, so that no end of it is an end of the grid."""
POWERS = {"raw": 0.0, "sqrt_root": 0.5, "sqrt_n": 1.0, "per_atom": 2.0}
SCALED = ("standardized", "correlated")


@dataclass(frozen=True)
class Weightings:
    """J weightings of K structures."""

    loss: tuple[str, ...]
    """The loss a weighting belongs to; empty for other powers."""
    exponent: Array
    """(J,) p of ``1/N^p``; NaN for a loss with fitted scales."""
    weights: Array
    """(J, K), with mean 1."""


def weightings(composition: Array, scales: Scales) -> Weightings:
    """Return ``1/N^p`` for the exponents of the grid, and ``1/s²`` of the losses with scales.

    Parameters
    ----------
    composition
        (K, Z) counts, species in the order of ``scales.species``.
    scales
        What the standardised and the correlated loss divide by.
    """
    names = {p: loss for loss, p in POWERS.items()}
    n_atoms = composition.sum(axis=1)
    rows = [n_atoms ** -float(p) for p in EXPONENTS]
    rows += [_scale(name, composition, scales) ** -2 for name in SCALED]
    weights = np.stack(rows)
    return Weightings(
        loss=(*(names.get(float(p), "") for p in EXPONENTS), *SCALED),
        exponent=np.array([*EXPONENTS, *[np.nan] * len(SCALED)]),
        weights=weights / weights.mean(axis=1, keepdims=True),
    )


def _scale(name: str, composition: Array, scales: Scales) -> Array:
    import torch  # not needed where a table is read: a plan is made without it

    loss = losses.energy_loss(name)(scales)
    return np.asarray(loss.scale(torch.as_tensor(composition)).numpy(), dtype=np.float64)


def best_exponent(exponents: Sequence[float] | Array, scores: Sequence[float] | Array) -> float:
    """Return where a score is least: the minimum of the parabola about the least of the grid.

    Parameters
    ----------
    exponents
        (J,) increasing and evenly spaced.
    scores
        (J,) smaller is better; NaN gives NaN.
    """
    p, y = np.asarray(exponents, float), np.asarray(scores, float)
    if np.isnan(y).any():
        return float("nan")
    best = int(np.argmin(y))
    if best in (0, len(p) - 1):
        return float(p[best])
    below, here, above = y[best - 1 : best + 2]
    curvature = below - 2 * here + above
    shift = 0.5 * (below - above) / curvature if curvature > 0 else 0.0
    return float(p[best] + shift * (p[1] - p[0]))
