"""The statistics of one dataset's training split, as every later stage reads them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase.data import atomic_numbers
from numpy.typing import NDArray

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import read_json, write_json

OTHER = "other"
SMALLEST_FORCE_SCALE = 1e-8
"""eV/Å. Forces are stored with eight decimals: what is smaller is a zero, or rounding of one."""
Array = NDArray[np.float64]
PER_SPECIES = (
    "mean", "mean_se", "std", "std_se", "local_energy_scale", "force_scale", "force_scale_se",
    "fraction_mean", "fraction_std",
)  # fmt: skip
DIVIDED_BY = ("local_energy_scale", "force_scale")
MAY_BE_OPEN = ("mean_se", "std_se", "force_scale_se")


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
    def read(cls, path: Path | str, dataset: str | None = None) -> "DatasetStatistics":
        """Read a file written by ``write``.

        Parameters
        ----------
        path
            File to read.
        dataset
            The dataset it is to be of; without it any is accepted.

        Raises
        ------
        PeslossError
            When a key is missing or unknown, a per-species entry has another length, a number is
            not finite, a spread negative or a scale not positive, or it is another dataset's.
        """
        content = read_json(path, tuple(cls.__dataclass_fields__))
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        unknown = [key for key in values if key not in cls.__dataclass_fields__]
        if unknown:
            raise PeslossError(f"{path}: unknown key {unknown[0]!r}; delete it and run again")
        for key, value, allowed in _wrong(values, dataset):
            raise wrong_value(str(path), key, value, f"{allowed}; delete it and run again")
        return cls(**values)  # type: ignore[arg-type]

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


def _wrong(values: dict[str, Any], dataset: str | None) -> Iterator[tuple[str, Any, str]]:
    """Yield keys with their wrong value and what is allowed."""
    if dataset is not None and values["dataset"] != dataset:
        yield "dataset", values["dataset"], f"{dataset}, whose folder it lies in"
    species = values["species"]
    if not species or not isinstance(species, tuple) or not all(map(_is_symbol, species)):
        yield "species", species, "a list of chemical symbols"
        return
    for key in PER_SPECIES:
        found = values[key]
        n = len(found) if isinstance(found, tuple) else 0
        if n != len(species) and not (n == 0 and key.startswith("force_")):
            yield f"number of entries of {key}", n, f"{len(species)}"
            return
        for symbol, value in zip(species, found, strict=n > 0):
            yield from _wrong_number(f"{key} of {symbol}", value, key)
    yield from _wrong_shared(values["shared"], len(species))
    for key in ("n_structures", "n_families"):
        if type(values[key]) is not int or values[key] < 1:
            yield key, values[key], "an integer of 1 or more"
    edges = values["size_edges"]
    if not isinstance(edges, tuple) or {type(edge) for edge in edges} != {int} or len(edges) < 2:
        yield "size_edges", edges, "two integers or more"


def _is_symbol(value: Any) -> bool:
    return isinstance(value, str) and value in atomic_numbers


def _wrong_shared(shared: Any, n_species: int) -> Iterator[tuple[str, Any, str]]:
    if not isinstance(shared, dict) or not {"kappa", "tau", "std"} <= set(shared):
        yield "shared", shared, "kappa, tau and std"
        return
    if not isinstance(shared["std"], list) or len(shared["std"]) != n_species:
        yield "shared.std", shared["std"], f"{n_species} numbers"
        return
    for name, value in (("kappa", shared["kappa"]), ("tau", shared["tau"])):
        yield from _wrong_number(f"shared.{name}", value, name)
    for value in shared["std"]:
        yield from _wrong_number("shared.std", value, "std")


def _wrong_number(where: str, value: Any, key: str) -> Iterator[tuple[str, Any, str]]:
    if value is None and key in MAY_BE_OPEN:
        return
    if type(value) not in (int, float) or not isfinite(value):
        yield where, value, "a finite number"
    elif key in DIVIDED_BY and value <= 0:
        yield where, value, "a positive number: labels are divided by it"
    elif value < 0 and key not in ("mean", "fraction_mean"):
        yield where, value, "a number of 0 or more"


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
