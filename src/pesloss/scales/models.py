"""The nested models of one fit, and the tests between them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pesloss.scales.grouped import Grouped, atoms
from pesloss.scales.likelihood_ratio import RatioTest, boundary_test, interior_test
from pesloss.scales.reml import Solution, Terms, solve, split

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """The chosen model and what the tests say about its additions."""

    solution: Solution
    tests: list[RatioTest] = field(default_factory=list)


def fit_models(data: Grouped, shared: str) -> Fitted:
    """Fit the model with τ none, one or one per species, after the models nested in it."""
    plain = solve(data, Terms())
    if shared == "none":
        return Fitted(plain)
    kappa = solve(data, Terms(structure=True), guess=np.insert(plain.theta, 0, 0.0))
    tau = solve(data, Terms(shared="one"), guess=np.append(plain.theta, 0.0))
    both = solve(data, Terms(True, "one"), guess=_joined(kappa, tau))
    level = both.log_likelihood
    tests = [
        boundary_test("structure_std = 0", tau.log_likelihood, level, 1),
        boundary_test("shared_std = 0", kappa.log_likelihood, level, 1),
        boundary_test("structure_std = shared_std = 0", plain.log_likelihood, level, 2),
    ]
    if shared == "one":
        return Fitted(both, tests)
    each = _one_per_species(data, both)
    null, dof = "one shared_std for all species", data.counts.shape[1] - 1
    tests.append(interior_test(null, level, each.log_likelihood, dof))
    return Fitted(each, tests)


def _joined(kappa: Solution, tau: Solution) -> Array:
    """Start the joint fit at the better of the two nested ones, so it cannot end below them."""
    if kappa.log_likelihood >= tau.log_likelihood:
        return np.append(kappa.theta, 0.0)
    return np.insert(tau.theta, 0, 0.0)


def _one_per_species(data: Grouped, both: Solution) -> Solution:
    """Fit one τ per species from the common one, which it cannot end below.

    Where all τ are zero their score vanishes (a saddle point), so the search starts a little
    away from there, and again at the common τ itself if that led to a lower place.
    """
    n_species = data.counts.shape[1]
    kappa, sigma, tau = split(both.theta, both.terms, n_species)
    least = 0.05 / np.sqrt(float(atoms(data.counts).mean()))
    away = np.concatenate([[kappa], sigma, np.maximum(tau, least)])
    common = np.concatenate([[kappa], sigma, tau])
    each = solve(data, Terms(True, "species"), target=common, guess=away)
    if each.log_likelihood >= both.log_likelihood:
        return each
    return solve(data, Terms(True, "species"), target=common, guess=common)
