"""Means and scales of local energies, and energies made unit normal (science.md §1, §2, §4)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from pesloss.job.errors import PeslossError
from pesloss.scales.checks import (
    checked_composition,
    checked_energy,
    checked_groups,
    checked_terms,
    species_names,
)
from pesloss.scales.grouped import atoms, product
from pesloss.scales.likelihood_ratio import RatioTest
from pesloss.scales.review import outliers, warnings
from pesloss.scales.summary import Summary, summarize

Array = NDArray[np.float64]
Method = Literal["reml", "ridge", "nnls"]
Shared = Literal["one", "species"]

FIELDS = (
    "mean",
    "std",
    "shared_std",
    "structure_std",
    "mean_se",
    "std_se",
    "shared_std_se",
    "structure_std_se",
    "mean_dof",
    "std_low",
    "std_high",
    "log_likelihood",
)
"""What a `Summary` hands on under the same names."""


class EnergyStandardizer:
    """Standardise total energies by composition.

    ``E' = (E − Σ n_z μ_z) / s`` with ``s² = κ² + Σ n_z σ_z² + (Σ n_z τ_z)²``.

    Parameters
    ----------
    method
        "reml" (restricted maximum likelihood with variances ≥ 0), "ridge" (the squared-residual
        regression of graph-pes, floor 0.01 eV²) or "nnls" (squared residuals by weighted
        non-negative least squares).
    shared
        False: κ = τ = 0. "one" (or True): κ and one τ for all species. "species": κ and one
        τ ≥ 0 per species. Only "reml" can fit κ and τ.

    Attributes
    ----------
    mean_, std_, shared_std_, structure_std_
        μ, σ, τ (Z,) and κ, in the unit of the energies.
    mean_se_, std_se_, shared_std_se_, structure_std_se_
        Standard errors; NaN where the data leave a parameter open or the method gives none.
    mean_dof_, std_low_, std_high_
        Degrees of freedom of ``mean_se_`` (Z,); ends (Z,) of the 95 % intervals of σ.
    identifiable_
        (Z,) whether the data fix both μ and σ of the species.
    unidentified_
        Sentences that name what the data cannot separate. Means left open deviate least
        (weighted by the column norms) from the common energy per atom; spreads left open
        stay at the pooled one.
    at_boundary_
        Names of species whose σ is estimated as zero.
    floored_, scale_floor_
        Names of species that `species_scale` raises to the floor 0.1 × ``sqrt(Σ r² / Σ N)``.
    outliers_
        Indices of structures whose residual, both divided by its expected scale and by √N,
        lies more than 8 robust standard deviations from the median; they stay in the fit.
    warnings_
        What a reader should know, one sentence each.
    log_likelihood_, tests_
        Restricted log-likelihood (NaN for other methods) and tests of the nested models.
    converged_, n_structures_, species_, mean_fraction_
        State of the fit, size of the data, names and mean proportions of the species.
    """

    mean_: Array
    std_: Array
    shared_std_: Array
    structure_std_: float
    mean_se_: Array
    std_se_: Array
    shared_std_se_: Array
    structure_std_se_: float
    mean_dof_: Array
    std_low_: Array
    std_high_: Array
    identifiable_: NDArray[np.bool_]
    unidentified_: list[str]
    at_boundary_: list[str]
    floored_: list[str]
    scale_floor_: float
    outliers_: NDArray[np.intp]
    warnings_: list[str]
    log_likelihood_: float
    tests_: list[RatioTest]
    converged_: bool
    n_structures_: int
    species_: list[str]
    mean_fraction_: Array

    def __init__(self, method: Method = "reml", shared: Shared | bool = False) -> None:
        self.method = method
        self.shared = shared

    def __repr__(self) -> str:
        return f"EnergyStandardizer(method={self.method!r}, shared={self.shared!r})"

    def fit(
        self,
        composition: ArrayLike,
        energy: ArrayLike,
        species: Sequence[str | int] | None = None,
        groups: ArrayLike | None = None,
    ) -> "EnergyStandardizer":
        """Estimate μ, σ and, where asked for, τ and κ.

        Parameters
        ----------
        composition
            (S, Z) numbers of atoms of each species.
        energy
            (S,) total energies, eV.
        species
            (Z,) symbols or atomic numbers, for messages.
        groups
            (S,) labels of structures that may deviate together, such as frames of one
            trajectory; errors of the means by "reml" then hold all the same.

        A wrong parameter, shape or entry, no structure at all, or too few different ones to fix
        the parameters, raises a PeslossError.
        """
        terms = checked_terms(self.method, self.shared)
        counts = checked_composition(composition)
        values = checked_energy(energy, len(counts))
        names = species_names(species, counts.shape[1])
        try:
            together = checked_groups(groups, len(counts))
            summary = summarize(counts, values, self.method, terms, names, together)
        except (np.linalg.LinAlgError, FloatingPointError) as error:
            raise _undetermined(counts, values, names, str(error)) from None
        self._keep(summary, names, len(counts))
        self._look_back(counts, values)
        return self

    def _keep(self, result: Summary, names: list[str], n_structures: int) -> None:
        for field in FIELDS:
            setattr(self, f"{field}_", getattr(result, field))
        self.identifiable_ = ~(result.open_mean | result.open_std)
        self.unidentified_ = result.lines
        self.tests_ = result.tests
        self.converged_ = result.converged
        self.species_, self.n_structures_ = names, n_structures

    def _look_back(self, counts: NDArray[np.number], energy: Array) -> None:
        """Residuals, and what they say: floor, outliers, warnings."""
        size = atoms(counts)
        residual = energy - product(counts, self.mean_)
        self.mean_fraction_ = np.asarray(counts.sum(axis=0) / size.sum(), dtype=np.float64)
        self.scale_floor_ = 0.1 * float(np.sqrt((residual**2).sum() / size.sum()))
        self.floored_ = self._names(self.std_ < self.scale_floor_)
        self.at_boundary_ = self._names((self.std_ == 0) & self.identifiable_)
        self.outliers_ = outliers(residual, np.sqrt(self._variance(counts) + 1e-300), size)
        self.warnings_ = self.unidentified_ + warnings(
            self.at_boundary_, self.outliers_, self.converged_
        )

    def _names(self, chosen: NDArray[np.bool_]) -> list[str]:
        return [self.species_[z] for z in np.flatnonzero(chosen)]

    def _check_fitted(self) -> None:
        if not hasattr(self, "mean_"):
            raise PeslossError("EnergyStandardizer: not fitted; call fit first")

    def _counts(self, composition: ArrayLike) -> NDArray[np.number]:
        self._check_fitted()
        return checked_composition(composition, len(self.mean_))

    def _variance(self, counts: NDArray[np.number], std: Array | None = None) -> Array:
        sigma = self.std_ if std is None else std
        sums = product(counts, np.stack([sigma**2, self.shared_std_], axis=1))
        return np.asarray(self.structure_std_**2 + sums[:, 0] + sums[:, 1] ** 2)

    def species_scale(self) -> Array:
        """σ_z (Z,), raised to ``scale_floor_`` where smaller: a scale to divide by."""
        self._check_fitted()
        return np.maximum(self.std_, self.scale_floor_)

    def scale(self, composition: ArrayLike, floor: bool = False) -> Array:
        """Expected deviation s of each structure (S,), eV.

        Parameters
        ----------
        composition
            (S, Z) counts.
        floor
            Use `species_scale` in place of σ.

        Raises
        ------
        PeslossError
            When the scale of a structure is zero, or counts do not fit the species.
        """
        counts = self._counts(composition)
        scale = np.sqrt(self._variance(counts, self.species_scale() if floor else None))
        zero = np.flatnonzero(scale == 0)
        if zero.size:
            names = ", ".join(self.species_[z] for z in np.flatnonzero(counts[zero[0]]))
            raise PeslossError(
                f"EnergyStandardizer: scale of structure {zero[0]} ({names}) is 0; "
                "use floor=True or data with more structures"
            )
        return scale

    def transform(self, energy: ArrayLike, composition: ArrayLike, floor: bool = False) -> Array:
        """E' = (E − Σ n_z μ_z) / s, (S,) without unit; arguments as in `scale`."""
        counts = self._counts(composition)
        values = checked_energy(energy, len(counts))
        return (values - product(counts, self.mean_)) / self.scale(counts, floor)

    def inverse_transform(
        self, standardized: ArrayLike, composition: ArrayLike, floor: bool = False
    ) -> Array:
        """E = Σ n_z μ_z + s E', (S,) in eV; arguments as in `scale`."""
        counts = self._counts(composition)
        values = checked_energy(standardized, len(counts))
        return product(counts, self.mean_) + values * self.scale(counts, floor)

    def exponent(self, n_atoms: ArrayLike) -> Array:
        """Local exponent ``α = ½ d log s² / d log N`` at fixed proportions.

        ``n_atoms`` holds (S, Z) compositions, or numbers of atoms (any shape but
        two-dimensional) at the mean proportions of the data. The answer, of shape (S,) or that
        of the numbers, is 0 where κ rules, ½ where σ does and 1 where τ does.
        """
        size = np.asarray(n_atoms)
        scaled = size if size.ndim == 2 else size.ravel()[:, None] * self.mean_fraction_
        counts = self._counts(scaled)
        variance = self.scale(counts) ** 2
        common = product(counts, self.shared_std_) ** 2
        alpha = (product(counts, self.std_**2) + 2 * common) / variance / 2
        return alpha if size.ndim == 2 else alpha.reshape(size.shape)

    def mean_interval(self, level: float = 0.95) -> Array:
        """(Z, 2) interval of μ by Student's t; NaN where the data leave it open."""
        half = student.ppf((1 + level) / 2, self.mean_dof_) * self.mean_se_
        return np.stack([self.mean_ - half, self.mean_ + half], axis=1)

    def std_interval(self) -> Array:
        """(Z, 2) interval of σ at 95 %, by inverting a score test; NaN where left open."""
        return np.stack([self.std_low_, self.std_high_], axis=1)


def _undetermined(
    counts: NDArray[np.number], energy: Array, names: Sequence[str], reason: str
) -> PeslossError:
    """Say what there is, and which energy per atom lies farthest from the others'."""
    different = len(np.unique(np.asarray(counts), axis=0))
    per_atom = energy / atoms(counts)
    farthest = int(np.abs(per_atom - np.median(per_atom)).argmax())
    return PeslossError(
        f"{len(counts)} structures of {different} compositions do not fix means and scales of "
        f"{', '.join(names)} ({reason}); more structures of more compositions are needed, or the "
        f"energy of structure {farthest} is wrong ({per_atom[farthest]:.6g} per atom, farthest "
        "from the others)"
    )
