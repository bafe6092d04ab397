"""Means and scales by species: what a loss knows of its training set.

Fitted by `pesloss.scales.training_set`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import read_json, write_json

_PER_SPECIES = ("mean", "local_energy_scale", "correlated_scale", "shared_scale", "force_scale")
_POSITIVE = ("local_energy_scale", "force_scale")
_ZERO_OR_MORE = ("correlated_scale", "shared_scale", "structure_scale")
LARGEST = 1e30  # in any unit in use; weights, one over squares, still fit into double precision


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

    Making one raises a PeslossError unless species are different elements, means are finite,
    σ_z of `local_energy_scale` and η_z are positive, the other scales are zero or positive, and
    none is beyond 1e±30.
    """

    species: tuple[str, ...]
    mean: tuple[float, ...]
    local_energy_scale: tuple[float, ...]
    correlated_scale: tuple[float, ...]
    shared_scale: tuple[float, ...]
    structure_scale: float
    force_scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self._check_species()
        for name in _PER_SPECIES:
            values = getattr(self, name)
            if not isinstance(values, tuple):
                raise wrong_value("Scales", name, values, "a list of numbers, one for each species")
            found, wanted = len(values), len(self.species)
            if found != wanted and not (name == "force_scale" and found == 0):
                raise wrong_value("Scales", f"number of entries of {name}", found, f"{wanted}")
            for symbol, value in zip(self.species, values, strict=False):
                _check_number(name, f"{name} of {symbol}", value)
        _check_number("structure_scale", "structure_scale", self.structure_scale)

    def _check_species(self) -> None:
        allowed = "different chemical symbols"
        if not isinstance(self.species, tuple) or not self.species:
            raise wrong_value("Scales", "species", self.species, allowed)
        unknown = [symbol for symbol in self.species if not _is_element(symbol)]
        if unknown or len(set(self.species)) < len(self.species):
            raise wrong_value("Scales", "species", unknown or self.species, allowed)

    def composition(
        self, structures: Sequence[Atoms], places: Sequence[int] | None = None
    ) -> NDArray[np.int64]:
        """Return the (S, Z) counts of ``structures``.

        Parameters
        ----------
        structures
            S structures.
        places
            (S,) numbers by which an error calls them; 0 to S − 1 when left out.

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
                    where = f"structure {k if places is None else places[k]}"
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
            When a key is missing or unknown, or a value is none that scales can have.
        """
        content = read_json(
            path,
            tuple(cls.__dataclass_fields__),
            "allowed: what `pesloss scales` writes",
            finite=False,
        )
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


def _is_element(symbol: object) -> bool:
    return isinstance(symbol, str) and atomic_numbers.get(symbol, 0) > 0


def _check_number(name: str, key: str, value: object) -> None:
    least = {
        **dict.fromkeys(_POSITIVE, 1 / LARGEST),
        **dict.fromkeys(_ZERO_OR_MORE, 0.0),
    }.get(name, -LARGEST)
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and least <= value <= LARGEST):  # type: ignore[operator]
        raise wrong_value("Scales", key, value, f"a number from {least:g} to {LARGEST:g}")
