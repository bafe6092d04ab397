"""Simpler estimators of σ_z, kept for comparison."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from pesloss.scales.grouped import Grouped, atoms
from pesloss.scales.rank import find_basis

Array = NDArray[np.float64]


class Moments(NamedTuple):
    """Means and variances of local energies."""

    mean: Array
    variance: Array


def fit_ridge(data: Grouped, alpha: float = 1e-5, least: float = 0.01) -> Moments:
    """Squared-residual regression of graph-pes (`guess_per_element_mean_and_var`).

    μ by ridge regression of E on the counts, σ² by ridge regression of the squared residuals
    on the counts, clipped at ``least`` (eV²).
    """
    gram = _gram(data, np.ones_like(data.size)) + alpha * np.eye(data.counts.shape[1])
    mean = _solve(gram, _project(data, data.size * data.mean))
    variance = _solve(gram, _project(data, _squares(data, mean)))
    return Moments(mean, np.maximum(variance, least))


def fit_nnls(data: Grouped) -> Moments:
    """Weighted least squares: μ with weights 1/N, σ² ≥ 0 with weights 1/N² on squared residuals.

    The weights are those of equal species; unlike REML they are not refined.
    """
    size = atoms(data.counts)
    basis = find_basis(data.counts, data.size / size).identified
    mean = basis @ (basis.T @ _project(data, data.size * data.mean / size))
    gram = _gram(data, 1 / size**2)
    norm = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
    right = _project(data, _squares(data, mean) / size**2) / norm
    upper = np.linalg.cholesky(gram / np.outer(norm, norm) + 1e-12 * np.eye(len(norm))).T
    solution, _ = nnls(upper, np.linalg.solve(upper.T, right))
    return Moments(mean, solution / norm)


def _solve(gram: Array, right: Array) -> Array:
    return np.asarray(np.linalg.solve(gram, right), dtype=np.float64)


def _gram(data: Grouped, weights: Array) -> Array:
    gram = np.zeros((data.counts.shape[1],) * 2)
    for rows, block in data.blocks():
        scaled = block * np.sqrt(data.size[rows] * weights[rows])[:, None]
        gram += scaled.T @ scaled
    return gram


def _project(data: Grouped, values: Array) -> Array:
    total = np.zeros(data.counts.shape[1])
    for rows, block in data.blocks():
        total += block.T @ values[rows]
    return total


def _squares(data: Grouped, mean: Array) -> Array:
    fitted = np.concatenate([block @ mean for _, block in data.blocks()])
    return np.asarray(data.size * (data.mean - fitted) ** 2 + data.scatter)
