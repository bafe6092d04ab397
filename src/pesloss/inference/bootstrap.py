"""Bootstrap by resampling weights, over structures and seeds together (science.md §5).

A resample is a row of integer weights, so any weighted statistic is computed for all resamples
at once. Structures of one family (same trajectory, same parent cell) are drawn together.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from pesloss.errors import PeslossError, wrong_value

Array = NDArray[np.float64]

_CELLS = 4_000_000  # most weights held at a time


def resample_weights(groups: ArrayLike, n_resamples: int, rng: np.random.Generator) -> Array:
    """Weights of a cluster bootstrap.

    Parameters
    ----------
    groups
        (K,) family of each structure; members of a family are drawn together.
    n_resamples
        Number of resamples B.
    rng
        Source of randomness.

    Returns
    -------
    ndarray
        (B, K) counts; each row draws as many families as there are, with replacement.

    Raises
    ------
    PeslossError
        When there is no structure or no resample.
    """
    labels, place = np.unique(np.asarray(groups), return_inverse=True)
    if labels.size == 0 or n_resamples < 1:
        wrong = (labels.size, n_resamples)
        raise wrong_value("resample_weights", "(families, resamples)", wrong, "at least 1 each")
    return _multinomial(labels.size, n_resamples, rng)[:, place.ravel()]


def _multinomial(n: int, n_resamples: int, rng: np.random.Generator) -> Array:
    return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)


def two_level_weights(
    groups: ArrayLike, n_seeds: int, n_resamples: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Weights of a crosswise bootstrap: families and seeds are both drawn with replacement.

    Runs of all seeds share their test structures, so structures are crossed with seeds, not
    nested in them (pigeonhole bootstrap, Owen, Ann. Appl. Stat. 1, 386, 2007). With one seed
    its weight is always one: the interval then covers new structures for *this* trained model
    and says nothing about another training. With few seeds the spread over seeds comes out
    too small by ``(n−1)/n`` and its quantile is far from normal: `two_level_interval` mends
    both.

    Parameters
    ----------
    groups
        (K,) family of each structure.
    n_seeds
        Number of seeds, at least one.
    n_resamples, rng
        As in `resample_weights`.

    Returns
    -------
    tuple of ndarray
        (B, K) weights of structures and (B, n_seeds) weights of seeds.
    """
    if n_seeds < 1:
        raise wrong_value("two_level_weights", "n_seeds", n_seeds, "at least 1")
    structures = resample_weights(groups, n_resamples, rng)
    return structures, _multinomial(n_seeds, n_resamples, rng)


def interval(
    estimate: float, replicates: ArrayLike, level: float = 0.95, dof: float = np.inf
) -> tuple[float, float]:
    """Interval around an estimate from its bootstrap replicates.

    ``estimate ± t(dof) × (standard deviation of the replicates)``.

    Parameters
    ----------
    estimate
        The statistic on the data themselves.
    replicates
        (B,) its values on the resamples; NaN (a resample without an answer) is left out.
    level
        Coverage.
    dof
        Degrees of freedom: number of independent units minus one when there are few.

    Raises
    ------
    PeslossError
        When more than one resample in twenty has no answer, or fewer than two have one.
    """
    values = np.asarray(replicates, dtype=np.float64).ravel()
    kept = values[np.isfinite(values)]
    if kept.size < 2 or kept.size < 0.95 * values.size:
        raise PeslossError(
            f"interval: {values.size - kept.size} of {values.size} resamples have no answer; "
            "too few structures or families"
        )
    half_width = float(student.ppf((1 + level) / 2, dof) * kept.std(ddof=1))
    return float(estimate) - half_width, float(estimate) + half_width


def effective_dof(influence: ArrayLike) -> float:
    """Degrees of freedom of a variance that is a sum of squared influences.

    Satterthwaite's ``2 (Σd²)² / Σd⁴``: when few structures carry the variance (heavy tails),
    the variance itself is uncertain and the normal quantile is too short.

    Parameters
    ----------
    influence
        (G,) change of the statistic when one family is left out.

    Returns
    -------
    float
        Between 2 and 2 G; infinite when no family has any influence.
    """
    d = np.asarray(influence, dtype=np.float64)
    fourth = float((d**4).sum())
    return 2 * float((d**2).sum()) ** 2 / fourth if fourth > 0 else np.inf


def one_level_interval(
    statistic: Callable[[Array], Array],
    groups: ArrayLike,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Estimate and interval of a statistic of structures (labels, or one trained model).

    Parameters
    ----------
    statistic
        Maps weights (B, K) to values (B,).
    groups
        (K,) family of each structure.
    rng, n_resamples, level
        As in `resample_weights` and `interval`.

    Returns
    -------
    tuple of float
        Estimate, low, high: bootstrap standard error times the quantile of Student's t with
        the degrees of freedom of `effective_dof`.
    """

    def cells(weights: Array) -> Array:
        return statistic(weights[:, 0])

    return two_level_interval(cells, groups, 1, rng, n_resamples, level)


def two_level_interval(
    statistic: Callable[[Array], Array],
    groups: ArrayLike,
    n_seeds: int,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Estimate and interval over structures and seeds, which are crossed.

    The variance has three parts, as in a two-way analysis of variance: V = V_g + V_s, where V_g
    (families, by bootstrap) and V_s (seeds, by jackknife) both hold the interaction of families
    with seeds; it is counted once. Degrees of freedom follow Satterthwaite: n_seeds − 1
    for the seeds, `effective_dof` for the families. With 2 or 3 seeds that differ much the
    interval is wide (t = 12.7 or 4.3), and rightly so.

    With one seed the interval covers new structures for this one trained model; nothing can be
    said about another training.

    Parameters
    ----------
    statistic
        Maps weights of cells (B, n_seeds, K) to values (B,).
    groups
        (K,) family of each structure.
    n_seeds
        Number of trained models that share the K test structures.
    rng, n_resamples, level
        As in `resample_weights` and `interval`.

    Returns
    -------
    tuple of float
        Estimate, low, high.
    """
    labels, place = np.unique(np.asarray(groups), return_inverse=True)
    place = place.ravel()
    if labels.size < 2 or n_seeds < 1:
        wrong = (labels.size, n_seeds)
        raise wrong_value("two_level_interval", "(families, seeds)", wrong, "at least 2 and 1")
    full = np.ones((1, n_seeds, place.size))
    estimate = float(statistic(full)[0])
    influence = estimate - _without_cells(statistic, place, labels.size, n_seeds)
    replicates = _replicates(statistic, place, n_seeds, n_resamples, rng)
    low, high = interval(0.0, replicates, 0.68)
    family = ((high - low) / 2 / float(student.ppf(0.84, np.inf))) ** 2
    seeds = _seed_variance(influence)
    spread = np.hypot(np.sqrt(family), np.sqrt(seeds))
    dof_family = effective_dof(influence.sum(0))
    dof_seeds = max(n_seeds - 1, 1)
    denominator = family**2 / dof_family + seeds**2 / dof_seeds
    dof = (family + seeds) ** 2 / denominator if denominator > 0 else np.inf
    half_width = float(student.ppf((1 + level) / 2, dof) * spread)
    return estimate, estimate - half_width, estimate + half_width


def _replicates(
    statistic: Callable[[Array], Array],
    groups: NDArray[np.intp],
    n_seeds: int,
    n_resamples: int,
    rng: np.random.Generator,
) -> Array:
    """Values on resampled families, the seeds kept, a bounded number at a time."""
    weights = resample_weights(groups, n_resamples, rng)
    size = max(1, _CELLS // (n_seeds * groups.size))
    parts = [
        statistic(np.repeat(weights[start : start + size, None], n_seeds, axis=1))
        for start in range(0, n_resamples, size)
    ]
    return np.concatenate(parts)


def _without_cells(
    statistic: Callable[[Array], Array], groups: NDArray[np.intp], n_groups: int, n_seeds: int
) -> Array:
    """Values with each cell (seed, family) left out: (n_seeds, n_groups)."""
    size = max(1, _CELLS // (n_seeds * groups.size))
    values = np.empty((n_seeds, n_groups))
    for seed in range(n_seeds):
        for start in range(0, n_groups, size):
            out = np.arange(start, min(start + size, n_groups))
            weights = np.ones((out.size, n_seeds, groups.size))
            weights[:, seed] -= groups == out[:, None]
            values[seed, out] = statistic(weights)
    return values


def _seed_variance(influence: Array) -> float:
    """Variance due to seeds alone: between them, less the interaction that V_g holds already."""
    n_seeds, n_groups = influence.shape
    if n_seeds == 1:
        return 0.0
    d = influence - influence.mean()
    rows, columns = d.mean(1, keepdims=True), d.mean(0, keepdims=True)
    between = n_seeds / (n_seeds - 1) * float((rows**2).sum()) * n_groups**2
    interaction = float(((d - rows - columns) ** 2).sum()) * n_seeds / (n_seeds - 1)
    return max(between - interaction, 0.0)
