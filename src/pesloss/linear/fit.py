"""Fits of one dataset under every weighting, over many random halves, and what they cost.

A replicate draws the families of structures with replacement (the first takes each once) and deals
them to two halves, several times and for several sets of features. In each half θ̂ is fitted exactly
under every weighting. Each half's θ̂ is tested on the other half; and half the mean squared
difference of the two predictions is the variance of a prediction, without the noise of the labels
and without what no θ can describe. Halves of one replicate share their data, so they are averaged;
the interval comes from the replicates, which differ in their families, halves and tosses alike.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pesloss.inference import exponent_of
from pesloss.job.errors import PeslossError
from pesloss.linear.features import Features
from pesloss.linear.halves import Families
from pesloss.linear.least_squares import RankDeficient, basis, solve
from pesloss.linear.weightings import EXPONENTS, Weightings, weightings
from pesloss.statistics.dataset import DatasetStatistics, size_edges
from pesloss.training.objective import scales_of

Array = NDArray[np.float64]
COLUMNS = [
    "replicate", "loss", "exponent", "log_error", "log_variance", "log_rmse_ev",
    "log_rmse_ev_per_root_atom", "log_rmse_ev_per_atom", "alpha_residual", "n_structures",
    "n_families", "n_parameters",
]  # fmt: skip
MOST_STRUCTURES = 2400
STRUCTURES_PER_FEATURE = 20
N_SIZES = 6
N_HALVES = 10
"""Halvings of a replicate for each set of features; the first replicate has five times as many."""
FIRST = 5


@dataclass(frozen=True)
class Problem:
    """One dataset as a linear problem with K structures and J weightings."""

    features: tuple[Array, ...]  # (K, d) for each set
    energies: Array  # (K,) eV
    n_atoms: Array  # (K,)
    size: NDArray[np.intp]  # (K,) group of size
    families: Families
    weightings: Weightings


@dataclass
class Sums:
    """Means of squares over the halves of one replicate."""

    n_halves: int = 0
    error: Array = field(default_factory=lambda: np.zeros(()))  # (J, K) eV²
    difference: Array = field(default_factory=lambda: np.zeros(()))  # (J, K) eV²

    def add(self, error: Array, difference: Array) -> None:
        """Add errors and differences (J, K), eV, of one pair of halves."""
        self.n_halves += 1
        self.error = self.error + (error**2 - self.error) / self.n_halves
        self.difference = self.difference + (difference**2 - self.difference) / self.n_halves


def fit_linear(
    features: Features,
    table: pd.DataFrame,
    statistics: DatasetStatistics,
    n_replicates: int,
    rng: np.random.Generator,
    watch: Callable[[range], Iterable[int]] = lambda replicates: replicates,
) -> pd.DataFrame:
    """Fit a dataset over and over.

    Parameters
    ----------
    features
        Of all structures; composition is added to them.
    table
        Structure table (structure, group, phase, n_atoms, energy in eV, n_X …).
    statistics
        Those of the dataset: they give the standardised and the correlated weighting.
    n_replicates
        Replicates beside the first.
    rng
        Source of replicates and halves.
    watch
        Wraps the loop over the replicates.

    Returns
    -------
    DataFrame
        ``COLUMNS``, one row a replicate and weighting. ``log_error`` and ``log_variance`` are means
        over six groups of size of the logarithms of the root mean square error and of the mean
        squared difference (`by_size`); α is that of squared errors under the best power. All are
        NaN for a replicate whose halves leave parameters undetermined.

    Raises
    ------
    PeslossError
        When a species is unknown to the statistics.
    """
    problem = pose(features, table, statistics, rng)
    rows = [
        _replicate(problem, replicate == 0, rng).assign(replicate=replicate)
        for replicate in watch(range(n_replicates + 1))
    ]
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def pose(
    features: Features,
    table: pd.DataFrame,
    statistics: DatasetStatistics,
    rng: np.random.Generator,
) -> Problem:
    """Put a dataset into the form of a linear problem; arguments as in `fit_linear`.

    Of larger datasets whole families are drawn until there are 2400 structures. There is at most
    one feature for every twenty structures.
    """
    place = pd.Series(range(len(features.structure)), index=features.structure)
    chosen = _chosen(table, rng)
    composition = statistics.composition(chosen)
    n_atoms = composition.sum(axis=1)
    unknown = chosen.structure[n_atoms != chosen.n_atoms.to_numpy()]
    if len(unknown):
        raise PeslossError(
            f"{statistics.dataset}: structure {unknown.iloc[0]} has species that the training "
            f"split lacks; allowed: {', '.join(statistics.species)}"
        )
    values = features.values[:, place.loc[chosen.structure].to_numpy()]
    kept = values[:, :, : len(chosen) // STRUCTURES_PER_FEATURE]
    inner = size_edges(chosen.n_atoms.to_numpy(), N_SIZES)[1:-1]
    return Problem(
        features=tuple(basis(np.hstack([composition, one]), n_atoms) for one in kept),
        energies=statistics.deviation(chosen.energy.to_numpy(float), composition),
        n_atoms=n_atoms,
        size=np.searchsorted(np.asarray(inner), n_atoms, side="right"),
        families=Families.of(chosen),
        weightings=weightings(composition, scales_of(statistics)),
    )


def _chosen(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Draw whole families until there are enough structures."""
    counts = table["group"].value_counts().sort_index()
    shuffled = counts.iloc[rng.permutation(len(counts))]
    kept = shuffled.index[shuffled.cumsum().to_numpy() <= MOST_STRUCTURES]
    return table[table["group"].isin(kept)].reset_index(drop=True)


def _replicate(problem: Problem, is_first: bool, rng: np.random.Generator) -> pd.DataFrame:
    """Return the rows of a replicate."""
    families = problem.families
    counts = np.ones(families.number) if is_first else families.draw(rng)
    weights = counts[families.family]
    kept = weights > 0
    sums = Sums()
    for features in problem.features:
        for _ in range(N_HALVES * (FIRST if is_first else 1)):
            first = families.halves(counts, rng)
            try:
                sums.add(*_halves(problem, features, first, weights))
            except RankDeficient:
                return _about(problem).reindex(columns=COLUMNS)
    return _row(problem, sums, weights, kept)


def _halves(
    problem: Problem, features: Array, first: NDArray[np.bool_], weights: Array
) -> tuple[Array, Array]:
    """Return errors on the other half and differences of the two fits, both (J, K), eV."""
    energies = problem.energies
    weighted = problem.weightings.weights * weights
    used = weights > 0
    fitted = [
        solve(features[half], energies[half], weighted[:, half])
        for half in (first & used, ~first & used)
    ]
    one, two = (theta @ features.T for theta in fitted)
    return np.where(first, two, one) - energies, one - two


def _row(problem: Problem, sums: Sums, weights: Array, kept: NDArray[np.bool_]) -> pd.DataFrame:
    n, error, w = problem.n_atoms[kept], sums.error[:, kept], weights[kept]
    size = problem.size[kept]
    by_error = 0.5 * by_size(error, size, w)
    best = int(np.argmin(by_error[: len(EXPONENTS)]))
    alpha = exponent_of(n, error[best], w[None])[0]
    return _about(problem).assign(
        log_error=by_error,
        log_variance=by_size(sums.difference[:, kept], size, w),
        log_rmse_ev=_log_rms(error, w),
        log_rmse_ev_per_root_atom=_log_rms(error / n, w),
        log_rmse_ev_per_atom=_log_rms(error / n**2, w),
        alpha_residual=alpha,
    )


def _about(problem: Problem) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "loss": problem.weightings.loss,
            "exponent": problem.weightings.exponent,
            "n_structures": len(problem.n_atoms),
            "n_families": problem.families.number,
            "n_parameters": problem.features[0].shape[1],
        }
    )


def by_size(squares: Array, size: NDArray[np.intp], weights: Array) -> Array:
    """Return the mean over groups of size of the logarithm of the mean square, (J,).

    Errors divided by any function of the group move this score by a constant, so it leans to no
    power of N: which weighting is best does not depend on whether errors are in eV or eV/atom. What
    it does take for granted is that an error smaller by one per cent counts the same at all sizes.

    Parameters
    ----------
    squares
        (J, K) squared errors.
    size
        (K,) group of each structure.
    weights
        (K,).
    """
    groups = np.stack([weights * (size == one) for one in np.unique(size)])
    means = squares @ (groups / groups.sum(axis=1, keepdims=True)).T
    return np.asarray(np.log(means).mean(axis=1))


def _log_rms(squares: Array, weights: Array) -> Array:
    return np.asarray(0.5 * np.log(squares @ weights / weights.sum()))
