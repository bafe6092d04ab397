"""Means and scales by species: what a loss knows of its training set.

Fitted by `pesloss.statistics.scales`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from pesloss.errors import PeslossError, wrong_value
from pesloss.files import read_json, write_json

_PER_SPECIES = ("mean", "local_energy_scale", "correlated_scale", "shared_scale", "force_scale")


@dataclass(frozen=True)
class Scales:
    """Means and scales of local energies and forces, in eV and Å or any other units.

    Attributes
    ----------
    species
        Z chemical symbols; all tuples follow their order.
    mean
        μ_z, mean local energies.
    local_energy_scale
        σ_z of independent local energies, positive (`EnergyStandardizer.species_scale`).
    correlated_scale, shared_scale, structure_scale
        σ_z, τ_z and κ of the model with a part that atoms of a structure share (science.md §2).
    force_scale
        η_z, root mean square force components; empty for data without forces.
    """

    species: tuple[str, ...]
    mean: tuple[float, ...]
    local_energy_scale: tuple[float, ...]
    correlated_scale: tuple[float, ...]
    shared_scale: tuple[float, ...]
    structure_scale: float
    force_scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in _PER_SPECIES:
            found, wanted = len(getattr(self, name)), len(self.species)
            if found != wanted and not (name == "force_scale" and found == 0):
                raise wrong_value("Scales", f"number of entries of {name}", found, f"{wanted}")
        unknown = [symbol for symbol in self.species if symbol not in atomic_numbers]
        if unknown or len(set(self.species)) < len(self.species):
            allowed = "different chemical symbols"
            raise wrong_value("Scales", "species", unknown or self.species, allowed)

    def composition(self, structures: Sequence[Atoms]) -> NDArray[np.int64]:
        """Return the (S, Z) counts of ``structures``.

        Raises
        ------
        PeslossError
            When a structure holds a species that is not among ``species``.
        """
        order = {atomic_numbers[symbol]: i for i, symbol in enumerate(self.species)}
        counts = np.zeros((len(structures), len(order)), dtype=np.int64)
        for k, atoms in enumerate(structures):
            for number in atoms.numbers.tolist():
                if number not in order:
                    where = f"structure {k}"
                    raise wrong_value(where, "species", chemical_symbols[number], self.species)
                counts[k, order[number]] += 1
        return counts

    def write(self, path: Path | str) -> None:
        """Write as JSON; floats are kept exactly."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path | str) -> "Scales":
        """Read what `write` wrote.

        Raises
        ------
        PeslossError
            When a key is missing or unknown, or an entry has another length than ``species``.
        """
        content = read_json(path, tuple(cls.__dataclass_fields__))
        unknown = sorted(set(content) - set(cls.__dataclass_fields__))
        if unknown:
            raise wrong_value(str(path), "key", unknown[0], cls.__dataclass_fields__)
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content.items()
        }
        try:
            return cls(**values)
        except PeslossError as error:
            raise PeslossError(f"{path}: {error}") from None
