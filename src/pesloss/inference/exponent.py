"""Size exponents: gamma regression of squared errors on log N (science.md §5).

The gamma likelihood with log link, ``log ⟨ΔE²⟩ = a + b log N``, is convex in (a, b). Its
intercept can be eliminated, and what is left says that b is the slope at which

    Σ w y N^-b log N / Σ w y N^-b  =  Σ w log N / Σ w:

the sizes weighted by scaled errors have the same mean as the sizes themselves. The left side
falls with b, so a bracketed Newton iteration finds it, for all rows of resampled weights at
once. An error of zero does no harm.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pesloss.job.errors import PeslossError, wrong_value

Array = NDArray[np.float64]

_LIMIT = 60.0  # slopes beyond ±60 mean that all the error sits at one end of the sizes


def fit_exponent(
    n_atoms: ArrayLike, squared_error: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Exponent α of ``⟨ΔE²⟩ ∝ N^(2α)`` by gamma regression with log link.

    Parameters
    ----------
    n_atoms
        (K,) sizes, positive.
    squared_error
        (K,) squared errors, any unit, zeros allowed.
    weights
        (K,) non-negative weights; all one by default.

    Returns
    -------
    float
        Half the fitted slope.

    Raises
    ------
    PeslossError
        When all sizes are equal, all errors are zero or an entry is not finite.
    """
    values = np.ones(np.shape(n_atoms)) if weights is None else np.asarray(weights, float)
    if values.ndim != 1:
        raise wrong_value("fit_exponent", "weights", f"shape {values.shape}", "one row (K,)")
    alpha = float(exponent_of(n_atoms, squared_error, values)[0])
    if np.isnan(alpha):
        raise PeslossError("fit_exponent: no slope: errors or sizes are all at a single size")
    return alpha


def exponent_of(n_atoms: ArrayLike, squared_error: ArrayLike, weights: ArrayLike) -> Array:
    """Exponents of many weighted samples at once, for the bootstrap.

    Parameters
    ----------
    n_atoms, squared_error
        As in `fit_exponent`.
    weights
        (B, K) resampling weights.

    Returns
    -------
    ndarray
        (B,) exponents; NaN where a resample has no slope (a single size, or all its errors at
        the smallest or at the largest size).
    """
    x, y, w = _checked(n_atoms, squared_error, weights)
    levels, place = np.unique(x, return_inverse=True)
    counts, sums = _by_level(w, place, len(levels)), _by_level(w * y, place, len(levels))
    return np.asarray(_slopes(levels, counts, sums) / 2)


def exponent_of_sums(n_atoms: ArrayLike, counts: ArrayLike, sums: ArrayLike) -> Array:
    """Exponents of samples that are known by their sums at each size, as in `exponent_of`.

    Parameters
    ----------
    n_atoms
        (L,) distinct sizes, positive.
    counts
        (B, L) weight of the structures of each size.
    sums
        (B, L) weighted sums of their squared errors. A sum may be an estimate below zero; it
        then counts as zero.

    Returns
    -------
    ndarray
        (B,) exponents; NaN as in `exponent_of`.
    """
    levels = np.log(np.asarray(n_atoms, dtype=np.float64))
    numbers = np.atleast_2d(np.asarray(counts, dtype=np.float64))
    squares = np.atleast_2d(np.asarray(sums, dtype=np.float64))
    if numbers.shape != squares.shape or numbers.shape[1:] != levels.shape:
        shapes = f"{levels.shape}, {numbers.shape}, {squares.shape}"
        raise wrong_value("exponent_of_sums", "shapes", shapes, "(L,), (B, L), (B, L)")
    return np.asarray(_slopes(levels, numbers, squares) / 2)


def _checked(n_atoms: ArrayLike, positive: ArrayLike, weights: ArrayLike) -> tuple[Array, ...]:
    """Return log N (K,), values (K,) and weights (B, K), or say what is wrong with them."""
    n, y = np.asarray(n_atoms, dtype=np.float64), np.asarray(positive, dtype=np.float64)
    w = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if n.ndim != 1 or y.shape != n.shape or w.shape[1:] != n.shape or n.size == 0:
        shapes = f"{n.shape}, {y.shape}, {w.shape}"
        raise wrong_value("exponent", "shapes", shapes, "(K,), (K,), (B, K) with K > 0")
    if not (np.isfinite(n).all() and (n > 0).all()):
        raise wrong_value("exponent", "n_atoms", n[~(n > 0) | ~np.isfinite(n)][0], "positive")
    for key, entries in (("squared_error", y), ("weights", w)):
        wrong = entries[~(np.isfinite(entries) & (entries >= 0))]
        if wrong.size:
            raise wrong_value("exponent", key, float(wrong[0]), "finite and not negative")
    return np.log(n), y, w


def _by_level(values: Array, place: NDArray[np.intp], n_levels: int) -> Array:
    """Sum the columns of (B, K) that share a size: (B, levels)."""
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(n_levels))
    return np.asarray(np.add.reduceat(values[:, order], starts, axis=1))


def _slopes(x: Array, counts: Array, sums: Array) -> Array:
    """Solve the tilted-mean equation for each row; NaN where it has no finite solution."""
    used = counts > 0
    total = counts.sum(1)
    mean = np.divide(counts @ x, total, out=np.full(len(counts), np.nan), where=total > 0)
    hit = sums > 0
    lowest = np.where(hit, x, np.inf).min(1)
    highest = np.where(hit, x, -np.inf).max(1)
    solvable = (used.sum(1) > 1) & (lowest < mean) & (mean < highest)
    slopes = np.full(len(counts), np.nan)
    if solvable.any():
        slopes[solvable] = _newton(x, np.log(np.maximum(sums[solvable], 1e-300)), mean[solvable])
    slopes[np.abs(slopes) > _LIMIT * (1 - 1e-9)] = np.nan
    return slopes


def _newton(x: Array, log_sums: Array, mean: Array) -> Array:
    """Newton's iteration with a bracket that always holds the solution."""
    low, high = np.full(len(mean), -_LIMIT), np.full(len(mean), _LIMIT)
    b = np.zeros(len(mean))
    for _ in range(200):
        first, second = _tilted(x, log_sums, b)
        gap = first - mean
        low, high = np.where(gap > 0, b, low), np.where(gap > 0, high, b)
        step = b + gap / np.maximum(second, 1e-12)
        inside = (step >= low) & (step <= high)  # at the solution the step may be none
        following = np.where(inside, step, (low + high) / 2)
        done = np.abs(following - b).max() < 1e-12 * _LIMIT
        b = following
        if done:
            break
    return b


def _tilted(x: Array, log_sums: Array, b: Array) -> tuple[Array, Array]:
    """Mean and variance of log N under the weights ``w y N^-b``."""
    log_mass = log_sums - b[:, None] * x
    mass = np.exp(log_mass - log_mass.max(1, keepdims=True))
    mass /= mass.sum(1, keepdims=True)
    first = mass @ x
    return first, mass @ x**2 - first**2


def line_exponent_of(n_atoms: ArrayLike, squared_error: ArrayLike, weights: ArrayLike) -> Array:
    """Slopes of the straight line through log|ΔE| against log N, for comparison.

    Heavy tails leave this slope alone where they pull the gamma regression, but errors of zero
    have no logarithm and are left out, and tails that change with size bias it.

    Parameters
    ----------
    n_atoms, squared_error, weights
        As in `exponent_of`.

    Returns
    -------
    ndarray
        (B,) slopes.

    Raises
    ------
    PeslossError
        When fewer than two sizes have an error above zero.
    """
    x, y, w = _checked(n_atoms, squared_error, weights)
    seen = y > 0
    return _line(x[seen], np.log(y[seen]) / 2, w[:, seen])


def slope(
    n_atoms: ArrayLike, positive_metric: ArrayLike, weights: ArrayLike | None = None
) -> Array | float:
    """Slope of ``log ⟨metric⟩`` on log N for squared, absolute or Huber errors.

    The same gamma regression as `fit_exponent` without the half: it models the mean of the
    metric as a power of N, which is what "the metric does not depend on size" (C3) is about.

    Parameters
    ----------
    n_atoms
        (K,) sizes.
    positive_metric
        (K,) contributions of the structures to the metric, not negative.
    weights
        (K,) or (B, K).

    Returns
    -------
    float or ndarray
        One slope, or (B,) slopes for (B, K) weights.
    """
    if weights is not None and np.ndim(weights) == 2:
        return np.asarray(2 * exponent_of(n_atoms, positive_metric, weights))
    return 2 * fit_exponent(n_atoms, positive_metric, weights)


def _line(x: Array, y: Array, w: Array) -> Array:
    """Weighted least-squares slopes, (B,)."""
    total = w.sum(1)
    if len(np.unique(x)) < 2:
        raise PeslossError("line_exponent: no slope: fewer than two sizes have an error above 0")
    mx, my = w @ x / total, w @ y / total
    covariance = w @ (x * y) / total - mx * my
    return np.asarray(covariance / (w @ x**2 / total - mx**2))
