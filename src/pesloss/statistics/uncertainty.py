"""Standard errors and intervals that hold when few structures carry the information."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from pesloss.statistics.reml import Solution

Array = NDArray[np.float64]

_WORK = 1e9  # rows × Z² above which intervals of σ² stay quadratic
_RULING = 0.5  # leverage of a composition above which its residuals tell nothing
_SHARP = 0.02  # relative standard error of σ² below which they do as well


_NULL = 1e-12  # share of the largest eigenvalue of scaled information that counts as none


class Inverse(NamedTuple):
    """Covariance (P, P) of the variance parameters, and which of them nothing is known of."""

    covariance: Array
    unknown: NDArray[np.bool_]


def inverse(information: Array) -> Inverse:
    """Invert an information matrix; directions in which there is none are left out.

    Few structures, or energies of very different size, make it singular to rounding.
    """
    try:
        covariance: Array = np.asarray(np.linalg.inv(information), dtype=np.float64)
    except np.linalg.LinAlgError:
        covariance = np.full_like(information, np.nan)
    if np.isfinite(covariance).all() and (np.diag(covariance) > 0).all():
        return Inverse(covariance, np.zeros(len(information), dtype=bool))
    scale = np.sqrt(np.diag(information))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    kept = values > _NULL * values[-1]
    half = vectors[:, kept] / np.sqrt(values[kept]) / scale[:, None]
    unknown = (vectors[:, ~kept] ** 2).sum(axis=1) > 1e-6
    return Inverse(np.asarray(half @ half.T, dtype=np.float64), np.asarray(unknown, dtype=bool))


class MeanErrors(NamedTuple):
    """Standard errors (Z,) of μ and their degrees of freedom (Z,)."""

    se: Array
    dof: Array


def mean_errors(fit: Solution, highest: Array) -> MeanErrors:
    """Sandwich errors of μ with squared residuals over (1 − leverage)² (HC3).

    Where σ of a species comes out too small, a few structures rich in it get too much weight
    and the model's own errors are too small; the residuals tell (MacKinnon & White,
    J. Econometrics 29, 305, 1985). Degrees of freedom are the effective number of structures
    behind each mean, minus one.

    A composition that nearly fixes a mean by itself (leverage above one half, as when σ of its
    species is estimated as zero) has hardly a residual. It counts with the variance at
    ``highest``, θ with σ² at the upper ends of their intervals, which needs no allowance for
    few degrees of freedom.
    """
    problem, data = fit.problem, fit.problem.data
    total, model, fourth = np.zeros((3, len(fit.mean)))
    for rows, block in data.blocks():
        v, n = problem.variance_only(fit.theta, block), data.size[rows]
        gain = (block @ fit.mean_covariance / v[:, None]) ** 2
        leverage = n * (block @ fit.mean_covariance * block).sum(1) / v
        squares = n * (data.mean[rows] - block @ fit.mean) ** 2 + data.scatter[rows]
        ruling = leverage > _RULING
        rest = np.where(ruling, 1.0, 1 - leverage / n)
        robust = np.where(ruling, n * problem.variance_only(highest, block), squares / rest**2)
        total += gain.T @ robust
        model += gain.T @ (n * v)
        fourth += (gain**2).T @ np.where(ruling, 0.0, n * v**2)
    effective = np.divide(model**2, fourth, out=np.full(len(model), np.inf), where=fourth > 0)
    return MeanErrors(np.sqrt(total), np.maximum(effective - 1, 1))


def variance_intervals(fit: Solution, error: Array, level: float, place: slice) -> Array:
    """Intervals of the variances at ``place`` in θ, two columns, cut at zero.

    An interval holds the values that the efficient score test does not reject, with the
    information taken at the value under test: a variance estimated too small would claim too
    much precision. Sharply determined parameters, and data too large for repeated passes, use
    ``θ ± quantile × error`` instead, which is then the same.
    """
    quantile = float(norm.ppf((1 + level) / 2))
    centre = fit.theta + _step(fit)
    around = np.stack([centre - quantile * error, centre + quantile * error], axis=1)
    intervals = np.maximum(around, 0)
    counts = fit.problem.data.counts
    if len(counts) * counts.shape[1] ** 2 < _WORK:
        for p in range(len(error))[place]:
            if error[p] > _SHARP * fit.theta[p]:
                intervals[p] = _by_score(fit, p, float(error[p]), quantile)
    intervals[:, 0] = np.minimum(intervals[:, 0], fit.theta)
    intervals[:, 1] = np.maximum(intervals[:, 1], fit.theta)
    return intervals[place]


def _step(fit: Solution) -> Array:
    try:
        return np.asarray(np.linalg.solve(fit.information, fit.score))
    except np.linalg.LinAlgError:
        return np.asarray(inverse(fit.information).covariance @ fit.score)


def _by_score(fit: Solution, place: int, error: float, quantile: float) -> Array:
    def test(value: float) -> float:
        return _efficient_score(fit, place, value)

    here = float(fit.theta[place])
    high = _crossing_above(test, here, error, -quantile)
    return np.array([_crossing_below(test, here, error, quantile), high])


def _crossing_below(test: Callable[[float], float], high: float, error: float, at: float) -> float:
    """Nearest value below ``high`` where the test reaches ``at``; zero when there is none.

    Near zero the few structures rich in one species seem to know everything: the test falls
    again or has no value, so the search goes down in steps.
    """
    upper = high
    if test(high) >= at:
        return high
    for lower in high * 0.7 ** np.arange(1, 20):
        value = test(float(lower))
        if not np.isfinite(value) or high == 0:
            return 0.0
        if value >= at:
            return float(brentq(lambda x: test(x) - at, lower, upper, xtol=1e-4 * error))
        upper = float(lower)
    return 0.0


def _crossing_above(test: Callable[[float], float], low: float, step: float, at: float) -> float:
    """First value above ``low`` where the falling test reaches ``at``."""
    if test(low) <= at:
        return low
    high = low + 2 * step
    for _ in range(40):
        if test(high) <= at:
            return float(brentq(lambda x: test(x) - at, low, high, xtol=1e-4 * step))
        low, high = high, high + 2 * (high - low)
    return high


def _efficient_score(fit: Solution, place: int, value: float) -> float:
    """Score of one parameter in units of its deviation, the others regressed out.

    Others that press against zero stay there. NaN where nothing is known about the parameter.
    """
    theta = fit.theta.copy()
    theta[place] = value
    there = fit.problem.evaluate(theta)
    free = (theta > 0) | (there.score > 0)
    free[place] = True
    covariance, unknown = inverse(there.information[np.ix_(free, free)])
    row = int(free[:place].sum())
    if unknown[row] or not covariance[row, row] > 0:
        return np.nan
    return float(covariance[row] @ there.score[free] / np.sqrt(covariance[row, row]))
