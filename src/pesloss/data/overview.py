"""What the data are: sizes, species, what was left out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ase import Atoms

from pesloss.data.store import read_structures
from pesloss.job.files import read_table

COLUMNS = (
    "dataset", "matter", "n_structures", "n_left_out", "n_atoms_min", "n_atoms_median",
    "n_atoms_max", "species", "description",
)  # fmt: skip


def dataset_row(
    name: str, description: str, table: pd.DataFrame, structures: Sequence[Atoms], n_left_out: int
) -> dict[str, Any]:
    """Describe a dataset in one row.

    Parameters
    ----------
    name, description
        The dataset, and what its file says of it.
    table
        Its structure table: one row a structure with ``n_atoms`` and ``n_X`` of each species.
    structures
        Its structures; none where it has compositions and energies alone.
    n_left_out
        Structures that failed or were not taken.

    Returns
    -------
    dict
        ``COLUMNS``. ``matter`` is ``bulk`` when all structures repeat in some direction,
        ``molecules`` when none does, ``mixed`` else, and ``drawn`` without geometry.
    """
    of_species = {str(c).removeprefix("n_"): table[c] for c in table if str(c).startswith("n_")}
    n_atoms = of_species.pop("atoms")
    species = [symbol for symbol, number in of_species.items() if (number > 0).any()]
    return {
        "dataset": name,
        "matter": _matter(structures),
        "n_structures": len(table),
        "n_left_out": n_left_out,
        "n_atoms_min": int(n_atoms.min()),
        "n_atoms_median": float(n_atoms.median()),
        "n_atoms_max": int(n_atoms.max()),
        "species": " ".join(species),
        "description": description,
    }


def dataset_table(
    described: Mapping[str, str], folder: Path, watch: Callable[..., Iterable[str]] = iter
) -> pd.DataFrame:
    """Describe datasets, one row each (`dataset_row`).

    Parameters
    ----------
    described
        Descriptions of the datasets by name.
    folder
        Holds a folder of each with ``structures.csv``, and where structures have positions
        ``structures.extxyz`` and ``failures.csv``.
    watch
        Wraps the loop over the datasets.
    """
    rows = []
    for name in watch(list(described)):
        table = read_table(folder / name / "structures.csv", ("structure", "n_atoms"))
        geometry, failures = (folder / name / f for f in ("structures.extxyz", "failures.csv"))
        structures = read_structures(geometry) if geometry.is_file() else []
        n_left_out = len(read_table(failures)) if failures.is_file() else 0
        rows.append(dataset_row(name, described[name], table, structures, n_left_out))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _matter(structures: Sequence[Atoms]) -> str:
    repeated = {bool(atoms.pbc.any()) for atoms in structures}
    if not repeated:
        return "drawn"
    if len(repeated) == 2:
        return "mixed"
    return "bulk" if repeated.pop() else "molecules"
