"""Accuracy of the estimators against the Cramér–Rao bound, and their cost, for anyone to rerun."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pesloss.job.files import write_table
from pesloss.job.provenance import current_memory_mib, peak_memory_mib
from pesloss.scales.energy import EnergyStandardizer, Method, Shared

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
    composition: NDArray[np.integer],
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


def draw_sparse_compositions(
    n_structures: int, n_species: int, rng: np.random.Generator, n_present: int = 5
) -> NDArray[np.int16]:
    """(S, Z) counts as in sets that span the periodic table.

    Up to ``n_present`` of the species in each structure, each with 1 to 20 atoms.
    """
    counts = np.zeros((n_structures, n_species), dtype=np.int16)
    rows = np.arange(n_structures)
    for _ in range(n_present):
        counts[rows, rng.integers(0, n_species, n_structures)] = rng.integers(1, 21, n_structures)
    return counts


def benchmark_scale(
    rng: np.random.Generator,
    n_structures: int = 1_000_000,
    n_species: int = 89,
    shared: Sequence[Shared | bool] = (False, "one"),
) -> pd.DataFrame:
    """Time and memory of a fit to a large set.

    Returns
    -------
    DataFrame
        One row per model: seconds on however many threads numpy uses, peak memory of the process
        beyond what it held before the fit (MiB), memory of the input (MiB), and the median and
        largest error of σ in units of its standard error.
    """
    truth = rng.uniform(0.1, 1.0, n_species)
    counts = draw_sparse_compositions(n_structures, n_species, rng)
    energy = draw_energies(counts, rng.uniform(-2000, -10, n_species), truth, rng)
    rows = []
    for terms in shared:
        before, started = current_memory_mib(), time.perf_counter()
        fit = EnergyStandardizer(shared=terms).fit(counts, energy)
        seconds = time.perf_counter() - started
        error = np.abs(fit.std_ - truth) / fit.std_se_
        rows.append(
            {
                "shared": str(terms),
                "n_structures": n_structures,
                "n_species": n_species,
                "seconds": round(seconds, 1),
                "memory_mib": round(peak_memory_mib() - before),
                "input_mib": round((counts.nbytes + energy.nbytes) / 2**20),
                "median_error_over_se": float(np.median(error)),
                "largest_error_over_se": float(error.max()),
            }
        )
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write ``statistics_accuracy.csv`` and ``statistics_scale.csv`` into a folder."""
    folder = Path((sys.argv[1:] if arguments is None else arguments)[0])
    scale = benchmark_scale(np.random.default_rng(1))
    write_table(folder / "statistics_scale.csv", scale)
    accuracy = benchmark_accuracy(np.random.default_rng(7))
    write_table(folder / "statistics_accuracy.csv", accuracy)
    return 0


if __name__ == "__main__":
    sys.exit(main())
