"""The statistics of one dataset's training split, as every later stage reads them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pesloss.errors import PeslossError, wrong_value
from pesloss.files import read_json, write_json

OTHER = "other"
Array = NDArray[np.float64]
PER_SPECIES = (
    "mean", "mean_se", "std", "std_se", "local_energy_scale", "force_scale", "force_scale_se",
    "fraction_mean", "fraction_std",
)  # fmt: skip


@dataclass(frozen=True)
class DatasetStatistics:
    """Moments of local energies and forces by species, and the groups errors are judged in.

    All of it comes from the training split. Energies are in eV, forces in eV/Å; tuples that are
    per species follow the order of ``species``.
    """

    dataset: str
    species: tuple[str, ...]
    mean: tuple[float, ...]
    mean_se: tuple[float | None, ...]
    std: tuple[float, ...]
    std_se: tuple[float | None, ...]
    local_energy_scale: tuple[float, ...]
    floored: tuple[str, ...]
    unidentified: tuple[str, ...]
    shared: dict[str, Any]
    force_scale: tuple[float, ...]
    force_scale_se: tuple[float | None, ...]
    size_edges: tuple[int, ...]
    fraction_mean: tuple[float, ...]
    fraction_std: tuple[float, ...]
    composition_groups: tuple[str, ...]
    n_structures: int
    n_families: int

    @classmethod
    def read(cls, path: Path | str) -> "DatasetStatistics":
        """Read a file written by ``write``.

        Raises
        ------
        PeslossError
            When a key is missing or unknown, or a per-species entry has another length.
        """
        content = read_json(path, tuple(cls.__dataclass_fields__))
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        unknown = [key for key in values if key not in cls.__dataclass_fields__]
        if unknown:
            raise PeslossError(f"{path}: unknown key {unknown[0]!r}; delete it and run again")
        statistics = cls(**values)  # type: ignore[arg-type]
        for key in PER_SPECIES:
            found, wanted = len(getattr(statistics, key)), len(statistics.species)
            if found != wanted and not (found == 0 and key.startswith("force_")):
                raise wrong_value(str(path), f"number of entries of {key}", found, f"{wanted}")
        return statistics

    def write(self, path: Path | str) -> None:
        """Write as JSON; floats are kept exactly."""
        write_json(path, asdict(self))

    @property
    def count_columns(self) -> list[str]:
        """Columns of a structure table that hold the composition."""
        return [f"n_{symbol}" for symbol in self.species]

    def composition(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return the (S, Z) composition of the rows of a structure table."""
        return table[self.count_columns].to_numpy(dtype=float)

    def deviation(self, energy: Array, composition: Array) -> Array:
        """Return ``E − Σ_z n_z μ_z`` in eV, shape (S,)."""
        return np.asarray(energy - composition @ np.asarray(self.mean), dtype=np.float64)

    def energy_scale(self, composition: Array) -> Array:
        """Return ``sqrt(Σ_z n_z σ_z²)`` in eV, shape (S,)."""
        return np.asarray(
            np.sqrt(composition @ np.square(self.local_energy_scale)), dtype=np.float64
        )

    def size_group(self, n_atoms: NDArray[np.int_]) -> list[str]:
        """Return the size group of each structure as ``low–high`` numbers of atoms."""
        return size_group(np.asarray(n_atoms), self.size_edges)

    def composition_group(self, composition: NDArray[np.float64]) -> list[str]:
        """Return the species each structure is richest in, against the training split's mean."""
        names = richest_species(composition, self.species, self.fraction_mean, self.fraction_std)
        return [name if name in self.composition_groups else OTHER for name in names]


def size_edges(n_atoms: NDArray[np.int_], n_groups: int = 4) -> tuple[int, ...]:
    """Return the first size of each group of about equal numbers of structures, and the last size.

    Groups merge where many structures share one size, so there may be fewer than ``n_groups``.
    """
    inner = np.quantile(n_atoms, np.arange(1, n_groups) / n_groups, method="higher")
    edges = sorted({int(n_atoms.min()), *(int(edge) for edge in inner)})
    return (*edges, max(int(n_atoms.max()), edges[-1]))


def size_group(n_atoms: NDArray[np.int_], edges: tuple[int, ...]) -> list[str]:
    """Return ``low–high`` for each size; sizes beyond the edges fall into the nearest group."""
    starts = edges[:-1]
    ends = [start - 1 for start in starts[1:]] + [edges[-1]]
    labels = [
        f"{low}–{high}" if high > low else f"{low}" for low, high in zip(starts, ends, strict=True)
    ]
    index = np.clip(np.searchsorted(starts, n_atoms, side="right") - 1, 0, len(labels) - 1)
    return [labels[i] for i in index]


def richest_species(
    composition: NDArray[np.float64],
    species: tuple[str, ...],
    fraction_mean: tuple[float, ...],
    fraction_std: tuple[float, ...],
) -> list[str]:
    """Return the species whose fraction lies most standard deviations above the mean."""
    fraction = composition / composition.sum(axis=1, keepdims=True)
    spread = np.where(np.asarray(fraction_std) > 0, fraction_std, np.inf)
    return [species[i] for i in np.argmax((fraction - fraction_mean) / spread, axis=1)]
