"""From a fit in pooled units to means, spreads and standard errors in eV."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pesloss.scales.grouped import Grouped, atoms, group, product
from pesloss.scales.likelihood_ratio import RatioTest
from pesloss.scales.models import fit_models
from pesloss.scales.moments import Moments, fit_nnls, fit_ridge
from pesloss.scales.rank import Basis, describe, find_basis, open_species
from pesloss.scales.reml import Solution
from pesloss.scales.uncertainty import (
    MeanErrors,
    grouped_mean_errors,
    inverse,
    mean_errors,
    variance_intervals,
)

Array = NDArray[np.float64]

_ROUNDING = 1e-14  # spread, as a share of the largest total energy, that is rounding error


@dataclass
class Summary:
    """Everything that `EnergyStandardizer.fit` reports, in units of the energies."""

    mean: Array
    std: Array
    shared_std: Array
    structure_std: float
    mean_se: Array
    std_se: Array
    shared_std_se: Array
    structure_std_se: float
    mean_dof: Array
    std_low: Array
    std_high: Array
    open_mean: NDArray[np.bool_]
    open_std: NDArray[np.bool_]
    lines: list[str]
    log_likelihood: float
    tests: list[RatioTest]
    converged: bool = True


@dataclass(frozen=True)
class Centred:
    """Energies less a least-squares fit of the means.

    Attributes
    ----------
    mean
        (Z,) that fit.
    residual
        (S,) what it leaves.
    unit
        Pooled standard deviation per √atom; zero when nothing is left.
    """

    mean: Array
    residual: Array
    unit: float
    basis: Basis


def centre(counts: NDArray[np.number], energy: Array) -> Centred:
    """Subtract means by least squares with weights 1/N, refined until rounding error is left.

    The common energy per atom goes first, so that species which the compositions do not
    separate get equal means and only what is left is split by minimum norm.
    """
    size = atoms(counts)
    mean = np.full(counts.shape[1], energy.sum() / size.sum())
    basis = find_basis(counts, 1 / size)
    for _ in range(3):
        residual = energy - product(counts, mean)
        mean = mean + basis.identified @ (basis.identified.T @ _project(counts, residual / size))
    residual = energy - product(counts, mean)
    free = len(energy) - basis.identified.shape[1]
    unit = float(np.sqrt((residual**2 / size).sum() / free)) if free > 0 else 0.0
    return Centred(mean, residual, unit if unit > _ROUNDING * np.abs(energy).max() else 0.0, basis)


def _project(counts: NDArray[np.number], values: Array) -> Array:
    data = Grouped(counts, values, values, values)
    parts = [block.T @ values[rows] for rows, block in data.blocks()]
    return np.asarray(np.sum(parts, axis=0))


def summarize(
    counts: NDArray[np.number],
    energy: Array,
    method: str,
    shared: str,
    names: Sequence[str],
    groups: NDArray[np.intp] | None = None,
) -> Summary:
    """Fit by the method and report in eV; ``groups`` (S,) counts groups of structures from 0."""
    centred = centre(counts, energy)
    seen = np.asarray(counts.any(axis=0))
    lines = describe(centred.basis, counts, names, seen)
    result = _empty(centred, lines)
    if centred.unit == 0:
        result.lines.append("all spreads: the means fit every energy, so nothing is left")
        return result
    data = group(counts, centred.residual / centred.unit)
    if method == "reml":
        fitted = fit_models(data, shared)
        highest = _fill(result, fitted.solution, centred.unit)
        if groups is not None:
            scaled = centred.residual / centred.unit
            errors = grouped_mean_errors(fitted.solution, highest, counts, scaled, groups)
            _widen(result, errors, centred.unit)
        free = len(energy) - centred.basis.identified.shape[1]
        shift = free * float(np.log(2 * np.pi * centred.unit**2)) / 2
        result.log_likelihood = fitted.solution.log_likelihood - shift
        result.tests = fitted.tests
    else:
        least = 0.01 / centred.unit**2
        moments = fit_ridge(data, least=least) if method == "ridge" else fit_nnls(data)
        _fill_moments(result, moments, centred.unit)
    result.open_std |= ~seen
    only = [names[z] for z in np.flatnonzero(result.open_std & seen)]
    if only:
        result.lines.append(f"{', '.join(only)}: spreads are not fixed, set near the pooled one")
    return result


def _empty(centred: Centred, lines: list[str]) -> Summary:
    n = len(centred.mean)
    unknown, zero = np.full(n, np.nan), np.zeros(n)
    return Summary(
        mean=centred.mean,
        std=zero,
        shared_std=zero.copy(),
        structure_std=0.0,
        mean_se=unknown,
        std_se=unknown.copy(),
        shared_std_se=unknown.copy(),
        structure_std_se=np.nan,
        mean_dof=unknown.copy(),
        std_low=unknown.copy(),
        std_high=unknown.copy(),
        open_mean=open_species(centred.basis),
        open_std=np.ones(n, dtype=bool),
        lines=lines,
        log_likelihood=np.nan,
        tests=[],
    )


def _fill_moments(result: Summary, moments: Moments, unit: float) -> None:
    result.mean = result.mean + unit * moments.mean
    result.std = unit * np.sqrt(moments.variance)
    result.open_std = result.open_mean.copy()


def _fill(result: Summary, fit: Solution, unit: float) -> Array:
    """Scale the solution to eV, add standard errors; return θ with σ² at their upper ends."""
    n = len(fit.mean)
    kappa, sigma, tau = fit.split()
    covariance, unknown = inverse(fit.information)
    se = np.where(unknown, np.nan, np.sqrt(np.diag(covariance)))
    left_open = unknown | (np.diag(covariance) * fit.problem.prior > 0.01)
    first = int(fit.terms.structure)
    place = slice(first, first + n)
    result.open_std = left_open[place].copy()
    bounds = variance_intervals(fit, se, 0.95, place)
    highest = fit.theta.copy()
    highest[place] = np.where(result.open_std, sigma, bounds[:, 1])
    _fill_means(result, fit, unit, highest)
    result.std, result.std_se = unit * np.sqrt(sigma), unit * root_error(sigma, se[place])
    result.std_low, result.std_high = unit * np.sqrt(bounds.T)
    for values in (result.std_se, result.std_low, result.std_high):
        values[result.open_std] = np.nan
    result.structure_std = unit * float(np.sqrt(kappa))
    if first:
        result.structure_std_se = unit * float(root_error(kappa, se[0]))
    result.shared_std = unit * tau
    result.shared_std_se = unit * _shared_error(fit, tau, se[first + n :])
    result.converged = fit.converged
    return highest


def _fill_means(result: Summary, fit: Solution, unit: float, highest: Array) -> None:
    se, dof = mean_errors(fit, highest)
    result.mean = result.mean + unit * fit.mean
    result.mean_se, result.mean_dof = unit * se, dof
    result.mean_se[result.open_mean] = np.nan


def _widen(result: Summary, errors: MeanErrors, unit: float) -> None:
    """Take the errors of groups where they are larger, or open, with their degrees of freedom."""
    wider = ~(unit * errors.se <= result.mean_se)
    result.mean_se = np.where(wider, unit * errors.se, result.mean_se)
    result.mean_dof = np.where(wider, errors.dof, np.minimum(errors.dof, result.mean_dof))
    result.mean_se[result.open_mean] = np.nan


def root_error(square: Array | float, square_error: Array | float) -> Array:
    """Standard error of √x from that of x: half of the way from √(x−e) to √(x+e).

    Equals e/(2√x) where e is small and stays finite at x = 0.
    """
    low = np.sqrt(np.maximum(square - square_error, 0))
    return np.asarray((np.sqrt(square + square_error) - low) / 2)


def _shared_error(fit: Solution, tau: Array, se: Array) -> Array:
    if fit.terms.shared == "one":
        return np.full(len(tau), float(root_error(tau[0] ** 2, se[0])))
    return se if fit.terms.shared == "species" else np.full(len(tau), np.nan)
