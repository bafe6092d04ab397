"""Restricted maximum likelihood for ``E ~ Normal(Cμ, diag v)`` (science.md §4).

    v = κ² + C σ² + (C τ)²
    ℓ = −½ [ Σ log v + log det CᵀWC + Σ r²/v ],    W = diag(1/v)

(Patterson & Thompson, Biometrika 58, 545, 1971). As the covariance is diagonal every step is
a weighted least-squares fit with weights 1/v. Fisher scoring in the variance parameters θ ≥ 0,
each step a small non-negative quadratic programme, with backtracking on ℓ. Compositions are
streamed in blocks: nothing larger than (S,) and (Z, Z) is held.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from pesloss.scales.grouped import Grouped, atoms
from pesloss.scales.rank import Basis, find_basis

Array = NDArray[np.float64]

_PRIOR = 1e-9  # pull of what the data leave open, in units of the information at the start
_FLOOR = 1e-10  # least variance per atom, in units of the pooled one: keeps ℓ finite
_THIN = 20_000  # rows of the fit that gives the starting point of larger ones


@dataclass(frozen=True)
class Terms:
    """Which variances besides σ the model has: κ, and τ none, one or one per species."""

    structure: bool = False
    shared: str = "none"

    def size(self, n_species: int) -> int:
        """Return the number of variance parameters."""
        return self.structure + n_species + {"none": 0, "one": 1, "species": n_species}[self.shared]


@dataclass(frozen=True)
class Solution:
    """A fit: parameters θ = (κ²?, σ²…, τ² or τ…?), means and what follows from them."""

    terms: Terms
    theta: Array
    mean: Array
    mean_covariance: Array
    score: Array
    information: Array
    objective: float
    log_likelihood: float
    problem: "Problem"
    converged: bool = True

    def split(self) -> tuple[float, Array, Array]:
        """Return κ², σ² (Z,) and τ (Z,)."""
        return split(self.theta, self.terms, len(self.mean))


def split(theta: Array, terms: Terms, n_species: int) -> tuple[float, Array, Array]:
    """Take θ apart into κ², σ² (Z,) and τ (Z,)."""
    first = int(terms.structure)
    kappa = float(theta[0]) if terms.structure else 0.0
    rest = theta[first + n_species :]
    tau = np.zeros(n_species)
    if terms.shared == "one":
        tau = np.full(n_species, np.sqrt(rest[0]))
    elif terms.shared == "species":
        tau = rest
    return kappa, theta[first : first + n_species], tau


@dataclass(frozen=True)
class Problem:
    """Data and model of one fit; energies in units of the pooled deviation per √atom."""

    data: Grouped
    terms: Terms
    basis: Basis
    target: Array
    prior: Array

    def variance(self, theta: Array, block: Array) -> tuple[Array, Array]:
        """Return v (rows,) and its derivatives dv/dθ (rows, P)."""
        kappa, sigma, tau = split(theta, self.terms, block.shape[1])
        size, common = block.sum(1), block @ tau
        variance = kappa + block @ sigma + common**2 + _FLOOR * size
        columns = [np.ones((len(block), 1))] if self.terms.structure else []
        columns.append(block)
        if self.terms.shared == "one":
            columns.append(size[:, None] ** 2)
        elif self.terms.shared == "species":
            columns.append(2 * common[:, None] * block)
        return variance, np.hstack(columns) if len(columns) > 1 else block

    def means(self, theta: Array) -> tuple[Array, Array, float]:
        """Return μ, a factor B with BBᵀ the covariance of μ, and log det CᵀWC."""
        n_species = self.data.counts.shape[1]
        normal, right = np.zeros((n_species, n_species)), np.zeros(n_species)
        for rows, block in self.data.blocks():
            weight = self.data.size[rows] / self.variance_only(theta, block)
            scaled = block * np.sqrt(weight)[:, None]
            normal += scaled.T @ scaled
            right += block.T @ (weight * self.data.mean[rows])
        q = self.basis.identified
        lower = cholesky(q.T @ normal @ q, lower=True)
        factor = solve_triangular(lower, q.T, lower=True).T
        log_det = 2 * float(np.log(np.diag(lower)).sum()) + 2 * self.basis.log_scale
        return factor @ (factor.T @ right), factor, log_det

    def variance_only(self, theta: Array, block: Array) -> Array:
        """Return v (rows,)."""
        kappa, sigma, tau = split(theta, self.terms, block.shape[1])
        linear = block @ np.stack([sigma + _FLOOR, tau], axis=1)
        return np.asarray(kappa + linear[:, 0] + linear[:, 1] ** 2)

    def evaluate(self, theta: Array) -> Solution:
        """Return ℓ with its score and expected information at θ.

        The information ``½ tr(P V_i P V_j)`` is taken as ``½ Σ (1 − h/v) V_i V_j / v²`` with the
        leverage h: exact for the overall scale, and to order Z/S for each species.
        """
        mean, factor, log_det = self.means(theta)
        size, total = len(theta), -log_det / 2
        score, information = np.zeros(size), np.zeros((size, size))
        for rows, block in self.data.blocks():
            v, jacobian = self.variance(theta, block)
            n, leverage = self.data.size[rows], ((block @ factor) ** 2).sum(1) / v
            squares = n * (self.data.mean[rows] - block @ mean) ** 2 + self.data.scatter[rows]
            total -= float((n * np.log(v) + squares / v).sum()) / 2
            score += jacobian.T @ (((squares / v - n) + n * leverage) / v) / 2
            weight = np.sqrt(np.maximum(n * (1 - leverage), 0) / 2) / v
            scaled = jacobian * weight[:, None]
            information += scaled.T @ scaled
        pull = self.prior * (theta - self.target)
        objective = total - float(pull @ (theta - self.target)) / 2
        return Solution(
            self.terms,
            theta,
            mean,
            factor @ factor.T,
            score - pull,
            information + np.diag(self.prior),
            objective,
            total,
            self,
        )


def solve(
    data: Grouped, terms: Terms, target: Array | None = None, guess: Array | None = None
) -> Solution:
    """Maximise ℓ over θ ≥ 0.

    What the data leave open stays nearest to ``target``: by default σ² at the pooled variance
    per atom, κ and τ at zero. The search starts at ``guess``, else at the target; large data
    start from the solution of a thinned sample.
    """
    target = _plain(terms, data.counts.shape[1]) if target is None else target
    if guess is None:
        thin = len(data.size) > 2 * _THIN
        guess = solve(data.thinned(_THIN), terms, target).theta if thin else target
    basis = find_basis(data.counts, data.size / atoms(data.counts))
    problem = Problem(data, terms, basis, target, np.zeros(len(target)))
    diagonal = np.diag(problem.evaluate(target).information)
    prior = _PRIOR * np.maximum(diagonal, 1e-3 * diagonal.max())
    return _climb(replace(problem, prior=prior), guess)


def _plain(terms: Terms, n_species: int) -> Array:
    theta = np.zeros(terms.size(n_species))
    theta[int(terms.structure) : int(terms.structure) + n_species] = 1.0
    return theta


def _climb(problem: Problem, theta: Array) -> Solution:
    """Fisher scoring until a full step promises nothing.

    Of large data a gain of 1e-6 in ℓ is nothing: it moves θ by a thousandth of its errors.
    """
    here = problem.evaluate(theta)
    least = 1e-11 if len(problem.data.size) <= 2 * _THIN else 1e-6
    for _ in range(300):
        step = _proposal(here) - here.theta
        gain = float(here.score @ step)
        noise = 1e-13 * (1 + abs(here.objective))
        if gain <= max(noise, least):
            return here
        following = _search(problem, here, step, gain, noise)
        if following is None:
            return here
        here = following
    return replace(here, converged=False)


def _search(
    problem: Problem, here: Solution, step: Array, gain: float, noise: float
) -> Solution | None:
    """Halve the step until ℓ rises; None when it does not."""
    for power in range(30):
        share = 0.5**power
        there = problem.evaluate(np.maximum(here.theta + share * step, 0))
        if there.objective >= here.objective + 1e-4 * share * gain - noise:
            return there
    return None


def _proposal(here: Solution) -> Array:
    """Maximise the quadratic model of ℓ over θ ≥ 0 by non-negative least squares."""
    scale = np.sqrt(np.diag(here.information))
    scaled = here.information / np.outer(scale, scale)
    upper = cholesky(scaled + 1e-14 * np.eye(len(scale)))
    right = (here.information @ here.theta + here.score) / scale
    solution, _ = nnls(upper, solve_triangular(upper, right, trans="T"), maxiter=100 * len(scale))
    return np.asarray(solution / scale)
