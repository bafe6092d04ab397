"""Accuracy of the estimators against the Cramér–Rao bound, for anyone to rerun."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pesloss.statistics.energy import EnergyStandardizer, Method

Array = NDArray[np.float64]

SPREADS = (0.1, 0.8, 0.4, 1.3)
MEANS = (-13.6, -1029.2, -1485.3, -2041.8)


def draw_compositions(
    n_structures: int,
    n_species: int,
    rng: np.random.Generator,
    sizes: tuple[int, int] = (2, 100),
) -> NDArray[np.int64]:
    """(S, Z) counts: uniform sizes within ``sizes``, proportions uniform on the simplex."""
    size = rng.integers(sizes[0], sizes[1] + 1, n_structures)
    return rng.multinomial(size, rng.dirichlet(np.ones(n_species), n_structures))


def draw_energies(
    composition: NDArray[np.int64],
    mean: ArrayLike,
    std: ArrayLike,
    rng: np.random.Generator,
    shared_std: float = 0.0,
    structure_std: float = 0.0,
) -> Array:
    """(S,) energies of the model of science.md §2 with known truth."""
    own = np.sqrt(composition @ np.square(std)) * rng.standard_normal(len(composition))
    common = shared_std * composition.sum(1) * rng.standard_normal(len(composition))
    alone = structure_std * rng.standard_normal(len(composition))
    return np.asarray(composition @ np.asarray(mean) + own + common + alone, dtype=np.float64)


def spread_bound(composition: ArrayLike, std: ArrayLike) -> Array:
    """Cramér–Rao bound on the standard error of σ (Z,) for κ = τ = 0.

    Information of σ²: ``½ Σ_k n_kz n_kz' / v_k²``; the bound on σ follows by the delta method.
    Unknown means only add to it.
    """
    counts, sigma = np.asarray(composition, dtype=np.float64), np.asarray(std)
    scaled = counts / (counts @ sigma**2)[:, None]
    covariance = np.linalg.inv(scaled.T @ scaled / 2)
    return np.asarray(np.sqrt(np.diag(covariance)) / (2 * sigma))


def benchmark_accuracy(
    rng: np.random.Generator,
    n_replicates: int = 500,
    n_structures: int = 1000,
    std: Sequence[float] = SPREADS,
    methods: Sequence[Method] = ("reml", "ridge", "nnls"),
) -> pd.DataFrame:
    """Errors of σ over replicates of one set of compositions.

    Parameters
    ----------
    rng
        Source of randomness.
    n_replicates, n_structures
        Size of the benchmark; sizes run from 2 to 100 atoms.
    std
        True σ of each species, eV.
    methods
        Estimators to compare.

    Returns
    -------
    DataFrame
        One row per method and species: true σ, bound, root-mean-square error and bias (all
        relative to σ), ratio of the error to the bound, and the coverage of the 95 % intervals
        of σ and μ (NaN for methods without).
    """
    truth, mean = np.asarray(std), np.resize(MEANS, len(std))
    counts = draw_compositions(n_structures, len(std), rng)
    draws = [draw_energies(counts, mean, truth, rng) for _ in range(n_replicates)]
    bound = spread_bound(counts, truth) / truth
    parts = []
    for method in methods:
        fits = [EnergyStandardizer(method).fit(counts, energy) for energy in draws]
        error = np.array([fit.std_ for fit in fits]) / truth - 1
        rms = np.sqrt((error**2).mean(0))
        columns = {
            "method": method,
            "species": np.arange(len(std)),
            "std": truth,
            "bound": bound,
            "rmse": rms,
            "bias": error.mean(0),
            "rmse_over_bound": rms / bound,
            "std_coverage": _coverage([fit.std_interval() for fit in fits], truth),
            "mean_coverage": _coverage([fit.mean_interval() for fit in fits], mean),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _coverage(intervals: Sequence[Array], truth: Array) -> Array:
    stacked = np.array(intervals)
    inside = (stacked[..., 0] <= truth) & (truth <= stacked[..., 1])
    known = np.isfinite(stacked).all(axis=(0, 2))
    return np.where(known, inside.mean(0), np.nan)
