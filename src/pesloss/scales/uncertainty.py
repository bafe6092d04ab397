"""Standard errors and intervals that hold when few structures carry the information."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from pesloss.scales.grouped import row_blocks
from pesloss.scales.reml import Solution

Array = NDArray[np.float64]

_WORK = 1e9  # rows × Z² above which intervals of σ² stay quadratic
_RULING = 0.5  # leverage of a composition above which its residuals tell nothing
_SHARP = 0.02  # relative standard error of σ² below which they do as well


_ALONE = 1e-6  # share of a mean's information that other groups must have
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


def grouped_mean_errors(
    fit: Solution,
    highest: Array,
    counts: NDArray[np.number],
    energy: Array,
    group: NDArray[np.intp],
) -> MeanErrors:
    """Errors of μ that hold when the structures of a group deviate together.

    Parameters
    ----------
    fit, highest
        Fit to all structures, and θ with σ² at the upper ends of their intervals.
    counts, energy, group
        (S, Z) compositions, (S,) energies as they were fitted, and (S,) numbers of groups from 0.

    Returns
    -------
    The jackknife over groups: squared changes of μ when each is left out (Bell & McCaffrey, Surv.
    Methodol. 28, 169, 2002, who call it CR3; HC3 where groups are single structures). Where one
    group fixes a mean by its weight alone, as when σ of its species is estimated as zero, weights
    are taken at ``highest``. NaN where a species, or what tells it from others, is in one group
    only: its own deviation is unknown. Degrees of freedom are the effective number of groups
    behind each mean, minus one (Carter, Schnepel & Steigerwald, Rev. Econ. Stat. 99, 698, 2017).
    """
    errors = _jackknife(fit, fit.theta, counts, energy, group)
    unknown = ~np.isfinite(errors.se)
    if not unknown.any():
        return errors
    milder = _jackknife(fit, highest, counts, energy, group)
    pairs = zip(milder, errors, strict=True)
    return MeanErrors(*(np.where(unknown, there, here) for there, here in pairs))


def _jackknife(
    fit: Solution,
    theta: Array,
    counts: NDArray[np.number],
    energy: Array,
    group: NDArray[np.intp],
) -> MeanErrors:
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    variance = [fit.problem.variance_only(theta, block) for _, block in row_blocks(counts)]
    weights = 1 / np.sqrt(np.concatenate(variance))
    mean, root, _ = fit.problem.means(theta)
    total, first, second = np.zeros((3, len(mean)))
    unknown = np.zeros(len(mean), dtype=bool)
    for rows in np.split(order, starts[1:]):
        block = counts[rows].astype(np.float64)
        scaled = (block @ root) * weights[rows, None]
        residual = (energy[rows] - block @ mean) * weights[rows]
        share, turn = np.linalg.eigh(scaled.T @ scaled)
        alone = share > 1 - _ALONE
        rest = np.where(alone, 1.0, 1 - share)
        turned = root @ turn
        unknown |= (turned[:, alone] ** 2).sum(axis=1) > _ALONE * (root**2).sum(axis=1)
        total += (turned @ ((turn.T @ (scaled.T @ residual)) / rest)) ** 2
        gain = root @ scaled.T
        part = (gain**2).sum(axis=1) + gain.sum(axis=1) ** 2
        first, second = first + part, second + part**2
    se = np.where(unknown, np.nan, np.sqrt(total * (len(starts) - 1) / len(starts)))
    effective = np.divide(first**2, second, out=np.ones_like(first), where=second > 0)
    return MeanErrors(se, np.maximum(effective - 1, 1))


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
