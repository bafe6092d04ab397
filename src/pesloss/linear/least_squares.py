"""Weighted least squares in closed form, for many weightings at once (science.md §3).

``θ̂ = A⁻¹ Xᵀ W E`` with ``A = Xᵀ W X`` and a diagonal ``W``. If ``E = Xθ + e`` and the covariance of
``e`` is ``V``, then ``Cov(θ̂) = A⁻¹ Xᵀ W V W X A⁻¹`` exactly, and no linear unbiased estimator has
less than ``(Xᵀ V⁻¹ X)⁻¹`` (Gauss–Markov), which is reached by ``W ∝ V⁻¹``.
"""

import numpy as np
from numpy.typing import NDArray

from pesloss.job.errors import PeslossError

Array = NDArray[np.float64]
LEAST_NEW = 1e-10
"""Share of a column that has to lie outside the span of the columns before it."""
TOLERANCE = 1e-8


class RankDeficient(PeslossError):
    """The structures do not determine all parameters."""


def solve(features: Array, energies: Array, weights: Array) -> Array:
    """Return the exact minimisers of ``Σ_k w_k (E_k − x_kθ)²``.

    Parameters
    ----------
    features
        (K, d) rows ``x_k``.
    energies
        (K,) or (K, T) for T sets of energies, eV.
    weights
        (J, K) not negative, one row a weighting.

    Returns
    -------
    ndarray
        (J, d) or (J, d, T).

    Raises
    ------
    RankDeficient
        When the weighted structures do not determine all parameters.
    """
    weighted = weights[:, :, None] * features
    moments = np.einsum("jkd,k...->jd...", weighted, energies, optimize=True)
    columns = moments[..., None] if energies.ndim == 1 else moments
    found = _solved(_gram(weighted, features), columns)
    return np.asarray(found[..., 0] if energies.ndim == 1 else found)


def estimators(features: Array, weights: Array) -> Array:
    """Return the matrices ``A⁻¹ Xᵀ W`` that map energies to parameters, (J, d, K)."""
    weighted = weights[:, :, None] * features
    return _solved(_gram(weighted, features), weighted.transpose(0, 2, 1))


def covariance(features: Array, weights: Array, variance: Array) -> Array:
    """Return the exact covariance of θ̂ under each weighting, (J, d, d), eV².

    Parameters
    ----------
    features, weights
        As in `solve`.
    variance
        (K,) variances of the energies, which are independent, eV².
    """
    maps = estimators(features, weights)
    return np.asarray((maps * variance) @ maps.transpose(0, 2, 1))


def gauss_markov(features: Array, variance: Array) -> Array:
    """Return ``(Xᵀ V⁻¹ X)⁻¹``, (d, d) eV²: the least covariance of any unbiased linear fit."""
    information = features.T @ (features / variance[:, None])
    return np.asarray(_solved(information[None], np.eye(features.shape[1])[None])[0])


def basis(features: Array, n_atoms: Array) -> Array:
    """Return columns that span what ``features`` span, well conditioned for sums over atoms.

    Columns are orthonormal after division of the rows by √N. A linear change of columns changes
    no prediction of a least-squares fit, so this is for precision alone. Directions with less than
    1e-8 of the length of the longest are linear combinations of the others to rounding, and left
    out.

    Parameters
    ----------
    features
        (K, d).
    n_atoms
        (K,) sizes.

    Returns
    -------
    ndarray
        (K, r) with r ≤ d the rank.
    """
    root = np.sqrt(n_atoms)[:, None]
    scaled = features / root
    length = np.linalg.norm(scaled, axis=0)
    left, values, _ = np.linalg.svd(scaled[:, length > 0] / length[length > 0], full_matrices=False)
    return np.asarray(left[:, values > TOLERANCE * values[0]] * root)


def _gram(weighted: Array, features: Array) -> Array:
    """``Xᵀ W X`` of each weighting, by one matrix product."""
    n_weightings, n_rows, n_columns = weighted.shape
    flat = weighted.transpose(0, 2, 1).reshape(n_weightings * n_columns, n_rows)
    return np.asarray((flat @ features).reshape(n_weightings, n_columns, n_columns))


def _solved(gram: Array, right: Array) -> Array:
    """Solve (J, d, d) against (J, d, T) with columns scaled to unit length."""
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    if not (diagonal > 0).all():
        raise RankDeficient("least squares: a feature is 0 in all structures")
    scale = 1 / np.sqrt(diagonal)
    scaled = gram * scale[:, :, None] * scale[:, None, :]
    try:
        factor = np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        raise RankDeficient("least squares: features are linearly dependent") from None
    if (np.diagonal(factor, axis1=1, axis2=2) ** 2).min() < LEAST_NEW:
        raise RankDeficient("least squares: features are linearly dependent")
    return np.asarray(scale[:, :, None] * np.linalg.solve(scaled, scale[:, :, None] * right))
