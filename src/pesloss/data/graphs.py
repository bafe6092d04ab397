"""Structures with their neighbour lists as flat arrays, in memory and in a file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from pesloss.data.geometry import listed, serves_as_box, unfit_cell
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import read_arrays, written_whole


@dataclass(frozen=True)
class Graphs:
    """S structures, A atoms and P neighbour pairs, one after the other.

    Energies in eV, forces in eV/Å, lengths in Å. ``local_energy`` is NaN where a potential has
    none. Pairs are sorted by their central atom; atom indices count from the structure's first.
    """

    structure: NDArray[np.str_]  # (S,)
    n_atoms: NDArray[np.int64]  # (S,)
    n_pairs: NDArray[np.int64]  # (S,)
    energy: NDArray[np.float64]  # (S,)
    numbers: NDArray[np.int64]  # (A,)
    positions: NDArray[np.float64]  # (A, 3)
    forces: NDArray[np.float64]  # (A, 3)
    local_energy: NDArray[np.float64]  # (A,)
    centre: NDArray[np.int64]  # (P,)
    neighbour: NDArray[np.int64]  # (P,)
    offset: NDArray[np.float64]  # (P, 3), added to the neighbour's position

    def write(self, path: Path | str) -> None:
        """Write as an uncompressed NumPy archive, whole or not at all."""
        with written_whole(path) as scratch, scratch.open("wb") as handle:
            np.savez(handle, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def read(cls, path: Path | str) -> "Graphs":
        """Read a file written by ``write``.

        Raises
        ------
        PeslossError
            When the file is truncated, is no such archive, or its arrays do not fit together.
        """
        found = cls(**read_arrays(path, [f.name for f in fields(cls)], "a graph file"))
        found._check(path)
        return found

    def _check(self, path: Path | str) -> None:
        s, a, p = len(self.structure), int(self.n_atoms.sum()), int(self.n_pairs.sum())
        shapes = ((s,), (s,), (s,), (s,), (a,), (a, 3), (a, 3), (a,), (p,), (p,), (p, 3))
        for field, shape in zip(fields(self), shapes, strict=True):
            if getattr(self, field.name).shape != shape:
                found = getattr(self, field.name).shape
                raise wrong_value(str(path), f"shape of {field.name}", found, f"{shape}")
        names, count = np.unique(self.structure, return_counts=True)
        if count.max(initial=1) > 1:
            name = names[np.argmax(count)]
            raise PeslossError(f"{path}: structure {name} is there twice; delete it and run again")

    def select(self, names: Sequence[str]) -> "NDArray[np.int64]":
        """Return the indices of the structures called ``names``.

        Raises
        ------
        PeslossError
            When a name is not in the file.
        """
        index = {str(name): i for i, name in enumerate(self.structure)}
        missing = [name for name in names if name not in index]
        if missing:
            raise PeslossError(
                f"graphs: structure is {missing[0]!r}; allowed: those of the dataset"
            )
        return np.array([index[name] for name in names], dtype=np.int64)


def build_graphs(
    structures: Sequence[Atoms],
    cutoff: float,
    progress: Callable[[Sequence[Atoms]], Iterator[Atoms]] | None = None,
) -> Graphs:
    """Compute the neighbour lists of all structures, once for all trainings.

    Parameters
    ----------
    structures
        With ``info["structure"]``, energy and forces.
    cutoff
        Å.
    progress
        Wraps the loop over the structures.

    Raises
    ------
    PeslossError
        Naming a structure whose neighbours cannot be listed, and why.
    """
    parts: dict[str, list[Any]] = {f.name: [] for f in fields(Graphs)}
    for atoms in progress(structures) if progress else structures:
        centre, neighbour, offset = _pairs(atoms, cutoff)
        n = len(atoms)
        local = atoms.arrays.get("local_energy", np.full(n, np.nan))
        values = (atoms.info["structure"], n, len(centre), atoms.get_potential_energy())
        arrays = (atoms.numbers, atoms.positions, atoms.get_forces(), local)
        pairs = (centre, neighbour, offset)
        for name, value in zip(parts, (*values, *arrays, *pairs), strict=True):
            parts[name].append(value)
    return Graphs(
        structure=np.array(parts["structure"], dtype=np.str_),
        n_atoms=np.array(parts["n_atoms"], dtype=np.int64),
        n_pairs=np.array(parts["n_pairs"], dtype=np.int64),
        energy=np.array(parts["energy"], dtype=float),
        numbers=np.concatenate(parts["numbers"]).astype(np.int64),
        **{name: np.concatenate(parts[name]) for name in ("positions", "forces", "local_energy")},
        centre=np.concatenate(parts["centre"]).astype(np.int64),
        neighbour=np.concatenate(parts["neighbour"]).astype(np.int64),
        offset=np.concatenate(parts["offset"]).astype(float),
    )


def _pairs(atoms: Atoms, cutoff: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    reason = unfit_cell(atoms, cutoff)
    if reason:
        raise PeslossError(f"structure {atoms.info['structure']}: {reason}")
    boxed = not atoms.pbc.any() and not serves_as_box(atoms.cell.array, cutoff)
    centre, neighbour, shift = listed("ijS", atoms, cutoff, boxed)
    return centre, neighbour, shift @ atoms.cell.array
