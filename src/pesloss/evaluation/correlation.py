"""Products of local deviations in shells of distance: what an energy deviation is made of.

A structure's deviation is the sum of its atoms', ``Δ = Σ_i δ_i``, so its square is a sum over all
ordered pairs of atoms. Sorted by distance, ``Δ² = Σ_i δ_i² + Σ_shells Σ_{i≠j in shell} δ_i δ_j``
(science.md §2): the first sum alone is the √N law, the shells are what it leaves out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from pesloss.job.errors import PeslossError
from pesloss.job.files import read_arrays, read_table, same_structures, write_table, written_whole
from pesloss.spec.manifest import RunFolder, write_manifest
from pesloss.statistics.dataset import DatasetStatistics

Array = NDArray[np.float64]
EDGES = (0.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, np.inf)
"""Limits of the shells, Å; the last holds every pair that is farther apart."""
COLUMNS = ("structure", "low", "high", "n_pairs", "product")


@dataclass(frozen=True)
class PairShells:
    """S structures with A atoms, and the shell of every ordered pair of atoms of a structure."""

    structure: NDArray[np.str_]  # (S,)
    n_atoms: NDArray[np.int64]  # (S,)
    numbers: NDArray[np.int64]  # (A,)
    local_energy: Array  # (A,) eV
    shell: NDArray[np.int8]  # (Σ N²,) 0 for an atom with itself

    def write(self, path: Path | str) -> None:
        """Write as a compressed NumPy archive, whole or not at all."""
        with written_whole(path) as scratch, scratch.open("wb") as handle:
            np.savez_compressed(handle, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def read(cls, path: Path | str) -> "PairShells":
        """Read a file written by ``write``.

        Raises
        ------
        PeslossError
            When the file is missing, truncated or no such archive.
        """
        return cls(**read_arrays(path, [f.name for f in fields(cls)], "a file of pair shells"))

    def items(self) -> Iterator[tuple[str, NDArray[np.int8]]]:
        """Yield each structure's name and the shells (N, N) of its pairs."""
        at = 0
        for name, n in zip(self.structure, self.n_atoms, strict=True):
            yield str(name), self.shell[at : at + n * n].reshape(n, n)
            at += n * n


def pair_shells(
    structures: Sequence[Atoms],
    progress: Callable[[Sequence[Atoms]], Iterator[Atoms]] | None = None,
) -> PairShells:
    """Sort the pairs of atoms of each structure into shells of their distance.

    A periodic pair stands at its shortest distance (minimum image) and counts once: the energy
    of a cell has one term for each of its atoms, however many images they have.

    Raises
    ------
    PeslossError
        When a structure has no local energies, naming it.
    """
    shells = []
    for atoms in progress(structures) if progress else structures:
        if "local_energy" not in atoms.arrays:
            where = f"structure {atoms.info['structure']}"
            raise PeslossError(f"{where}: array 'local_energy' is missing; its potential has none")
        distance = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
        shells.append(shell_of(distance))
    return PairShells(
        structure=np.array([atoms.info["structure"] for atoms in structures], dtype=np.str_),
        n_atoms=np.array([len(atoms) for atoms in structures], dtype=np.int64),
        numbers=np.concatenate([atoms.numbers for atoms in structures]).astype(np.int64),
        local_energy=np.concatenate([atoms.arrays["local_energy"] for atoms in structures]),
        shell=np.concatenate([shell.ravel() for shell in shells]),
    )


def shell_of(distance: Array) -> NDArray[np.int8]:
    """Return the shell, from 1, of each distance (N, N) in Å; 0 on the diagonal."""
    shell = np.searchsorted(np.array(EDGES), distance, side="right")
    np.fill_diagonal(shell, 0)
    return shell.astype(np.int8)


def pair_products(shells: PairShells, deviation: dict[str, Array]) -> pd.DataFrame:
    """Sum products of local deviations over the pairs of each shell.

    Parameters
    ----------
    shells
        The structures.
    deviation
        δ (N,) in eV of the atoms of some of the structures.

    Returns
    -------
    DataFrame
        One row a structure and shell that has pairs: ``low`` and ``high`` in Å (both 0 for an
        atom with itself), the number of ordered pairs, and the sum of ``δ_i δ_j`` in eV² over
        them. The products of a structure add up to the square of its energy deviation.

    Raises
    ------
    PeslossError
        When a structure is unknown, or its deviations are not as many finite numbers as it has
        atoms.
    """
    rows = []
    for name, shell in shells.items():
        if name in deviation:
            rows += [(name, *row) for row in _products(name, shell, deviation[name])]
    unknown = sorted(set(deviation) - {str(name) for name in shells.structure})
    if unknown:
        raise PeslossError(f"pair products: structure is {unknown[0]!r}; allowed: those held out")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _products(
    name: str, shell: NDArray[np.int8], deviation: Array
) -> Iterator[tuple[float, float, int, float]]:
    if deviation.shape != (len(shell),) or not np.isfinite(deviation).all():
        raise PeslossError(f"structure {name}: local deviations are not {len(shell)} numbers")
    flat = shell.ravel()
    counts = np.bincount(flat, minlength=len(EDGES))
    sums = np.bincount(flat, np.outer(deviation, deviation).ravel(), len(EDGES))
    for place in np.flatnonzero(counts):
        low, high = (EDGES[place - 1], EDGES[place]) if place else (0.0, 0.0)
        yield low, high, int(counts[place]), float(sums[place])


def label_products(shells: PairShells, statistics: DatasetStatistics) -> pd.DataFrame:
    """Return the products of the labels' local deviations ``ε_i − μ_z``."""
    mean = np.zeros(120)
    mean[[atomic_numbers[name] for name in statistics.species]] = statistics.mean
    deviation = shells.local_energy - mean[shells.numbers]
    parts = np.split(deviation, np.cumsum(shells.n_atoms)[:-1])
    names = [str(name) for name in shells.structure]
    return pair_products(shells, dict(zip(names, parts, strict=True)))


def error_products(shells: PairShells, atoms: pd.DataFrame) -> pd.DataFrame:
    """Return the products of a model's local errors ``ε̂_i − ε_i`` on test structures.

    How a network splits the energy into atoms is not fixed by energies and forces: a share may
    move from an atom to its neighbours and no sum changes. Such a shift adds to the variance and
    takes the same away from the near shells, so single shells say little; their sum is an energy.

    Parameters
    ----------
    shells
        The dataset.
    atoms
        A run's errors by atom: structure and ``local_energy_error`` in eV.
    """
    parts = atoms.groupby("structure", sort=False).local_energy_error
    return pair_products(shells, {str(name): part.to_numpy(float) for name, part in parts})


def write_pair_shells(
    structures: Sequence[Atoms], splits: Path | str, out: Path | str, progress: Any = None
) -> None:
    """Write the pair shells of validation and test structures.

    Raises
    ------
    PeslossError
        When the splits are not those of the structures, or these have no local energies.
    """
    table = read_table(splits, ("structure", "split"), unique=("structure",))
    names = [atoms.info["structure"] for atoms in structures]
    same_structures(table.structure, splits, names, "structures.extxyz")
    held_out = set(table.structure[table.split != "train"])
    chosen = [atoms for atoms in structures if atoms.info["structure"] in held_out]
    pair_shells(chosen, progress).write(out)


def write_label_products(shells: Path, statistics: Path, out: Path) -> None:
    """Write the products of a dataset's labels."""
    write_table(out, label_products(PairShells.read(shells), DatasetStatistics.read(statistics)))


def write_error_products(shells: Path, atoms: Path, out: Path, manifest_out: Path) -> None:
    """Write the products of a run's errors, and the manifest of the file.

    Raises
    ------
    PeslossError
        When the errors are not those that the run's evaluation goes with.
    """
    folder = RunFolder(atoms.parent)
    table = folder.table(atoms.name, ("structure", "local_energy_error"))
    write_table(out, error_products(PairShells.read(shells), table))
    write_manifest(manifest_out, {"run": folder.record["run"]}, [out], [atoms])
