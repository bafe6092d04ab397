"""Scale η_z of the force components on each species (science.md §1)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.scales.checks import symbol

Array = NDArray[np.float64]


class ForceStandardizer:
    """Standardise force components: ``F' = F / η_z`` with ``η_z² = ⟨F²⟩`` over species z.

    The mean of a force component is zero by symmetry and is not estimated.

    Attributes
    ----------
    species_
        (Z,) atomic numbers seen, ascending.
    scale_
        (Z,) η_z in eV/Å.
    scale_se_
        (Z,) standard errors; robust to correlation within structures when ``structure`` is
        given to `fit`, else as if atoms were independent. NaN where a single structure (or
        atom) leaves them open.
    count_
        (Z,) atoms of each species.
    unusable_
        Symbols of the species whose forces are all zero: they have no scale.
    """

    species_: NDArray[np.int64]
    scale_: Array
    scale_se_: Array
    count_: NDArray[np.int64]
    unusable_: list[str]

    def __repr__(self) -> str:
        return "ForceStandardizer()"

    def fit(
        self, numbers: ArrayLike, forces: ArrayLike, structure: ArrayLike | None = None
    ) -> "ForceStandardizer":
        """Estimate η_z.

        Parameters
        ----------
        numbers
            (A,) atomic numbers.
        forces
            (A, 3) eV/Å.
        structure
            (A,) index of the structure of each atom, for cluster-robust standard errors.

        Raises
        ------
        PeslossError
            When input is empty, not finite or of the wrong shape.
        """
        z, f = _checked(numbers, forces)
        self.species_, place, count = np.unique(z, return_inverse=True, return_counts=True)
        self.count_ = count.astype(np.int64)
        mean_square = (f**2).mean(1)
        variance = np.bincount(place, weights=mean_square) / count
        self.scale_ = np.sqrt(variance)
        deviation = mean_square - variance[place]
        spread = _spread(deviation, place, _clusters(structure, len(z)))
        usable = self.scale_ > 0
        self.scale_se_ = np.full(len(count), np.nan)
        self.scale_se_[usable] = (spread / count)[usable] / (2 * self.scale_[usable])
        self.unusable_ = [symbol(int(s)) for s in self.species_[~usable]]
        return self

    def scale(self, numbers: ArrayLike) -> Array:
        """η of each atom (A,), eV/Å.

        Raises
        ------
        PeslossError
            Before `fit`, for a species that was not fitted, and for one whose forces were all
            zero.
        """
        if not hasattr(self, "scale_"):
            raise PeslossError("ForceStandardizer: not fitted; call fit first")
        z = np.asarray(numbers)
        place = np.minimum(np.searchsorted(self.species_, z), len(self.species_) - 1)
        unknown = z[self.species_[place] != z]
        if unknown.size:
            known = [symbol(int(s)) for s in self.species_]
            raise wrong_value("ForceStandardizer", "species", symbol(int(unknown[0])), known)
        scale = self.scale_[place]
        if (scale == 0).any():
            names = ", ".join(self.unusable_)
            raise PeslossError(f"ForceStandardizer: forces on {names} were all zero: no scale")
        return np.asarray(scale)

    def transform(self, numbers: ArrayLike, forces: ArrayLike) -> Array:
        """Return F' = F/η, (A, 3), without unit."""
        return np.asarray(forces, dtype=np.float64) / self.scale(numbers)[:, None]

    def inverse_transform(self, numbers: ArrayLike, standardized: ArrayLike) -> Array:
        """Return F = η F', (A, 3) in eV/Å."""
        return np.asarray(standardized, dtype=np.float64) * self.scale(numbers)[:, None]


def _checked(numbers: ArrayLike, forces: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    z, f = np.asarray(numbers), np.asarray(forces, dtype=np.float64)
    if z.ndim != 1 or f.shape != (z.size, 3) or z.size == 0 or z.dtype.kind not in "iu":
        found = f"{z.shape} of {z.dtype} and {f.shape}"
        raise wrong_value("ForceStandardizer", "shapes", found, "integers (A,) and (A, 3), A > 0")
    wrong = np.flatnonzero(~np.isfinite(f).all(1))
    if wrong.size:
        row = f[wrong[0]].tolist()
        raise wrong_value("ForceStandardizer", f"force on atom {wrong[0]}", row, "finite")
    symbol(int(z.min()))
    symbol(int(z.max()))
    return z.astype(np.int64), f


def _clusters(structure: ArrayLike | None, n_atoms: int) -> NDArray[np.intp]:
    if structure is None:
        return np.arange(n_atoms)
    labels = np.asarray(structure)
    if labels.shape != (n_atoms,):
        raise wrong_value("ForceStandardizer", "structure", labels.shape, f"({n_atoms},)")
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.intp)


def _spread(deviation: Array, place: NDArray[np.intp], cluster: NDArray[np.intp]) -> Array:
    """Standard deviation of each species' sum when clusters are independent; NaN for one."""
    n_clusters = int(cluster.max()) + 1
    pairs, index = np.unique(place * n_clusters + cluster, return_inverse=True)
    sums = np.bincount(index, weights=deviation)
    species = pairs // n_clusters
    members = np.bincount(species)
    correction = np.where(members > 1, members / np.maximum(members - 1, 1), np.nan)
    return np.asarray(np.sqrt(np.bincount(species, weights=sums**2) * correction))
