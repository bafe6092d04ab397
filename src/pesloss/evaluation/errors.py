"""Errors of a trained model, structure by structure and atom by atom."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from numpy.typing import NDArray

from pesloss.data.graphs import Graphs
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import read_table, same_structures, write_table
from pesloss.spec.manifest import EVALUATED, EVALUATION, RunFolder, write_manifest
from pesloss.training.predictions import read_predictions


def error_tables(
    predictions: Path, graphs: Graphs, labels: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare the predictions of one run with the labels.

    Parameters
    ----------
    predictions
        The run's predictions of validation and test structures.
    graphs
        The dataset with its labels.
    labels
        The label table: groups and scales of the structures.

    Returns
    -------
    structures
        One row a structure: ``energy_error`` = Ê − E in eV, ``force_mse`` in (eV/Å)², the mean over
        components, and the structure's groups and scale.
    atoms
        One row an atom of the test split: ``force_error_square`` in (eV/Å)², the mean over the
        three components, and ``local_energy_error`` in eV where the potential has local energies.
    """
    found = read_predictions(predictions, ("structure", "energy", "forces", "local_energy"))
    index = graphs.select([str(name) for name in found["structure"]])
    n_atoms = graphs.n_atoms[index]
    first = np.concatenate([[0], np.cumsum(graphs.n_atoms)])
    atom = np.concatenate([np.arange(first[i], first[i + 1]) for i in index])
    if len(atom) != len(found["forces"]):
        raise PeslossError(f"{predictions}: {len(found['forces'])} forces, not {len(atom)}")
    _check_sizes(found["structure"], n_atoms, labels)
    owner = np.repeat(np.arange(len(index)), n_atoms)
    square = np.mean((found["forces"] - graphs.forces[atom]) ** 2, axis=1)
    structures = pd.DataFrame(
        {
            "structure": found["structure"],
            "energy_error": found["energy"] - graphs.energy[index],
            "force_mse": np.bincount(owner, square) / n_atoms,
        }
    ).merge(labels, on="structure", how="left", validate="one_to_one")
    atoms = pd.DataFrame(
        {
            "structure": found["structure"][owner],
            "species": [chemical_symbols[z] for z in graphs.numbers[atom]],
            "force_error_square": square,
            "local_energy_error": found["local_energy"] - graphs.local_energy[atom],
        }
    )
    tested = structures.structure[structures.split == "test"]
    return structures, atoms[atoms.structure.isin(tested)]


def _check_sizes(names: NDArray[np.str_], n_atoms: NDArray[np.int64], labels: pd.DataFrame) -> None:
    """Refuse labels of other structures than were predicted."""
    labelled = labels.set_index("structure").n_atoms.reindex(names).to_numpy(float)
    wrong = np.flatnonzero(labelled != n_atoms)
    if len(wrong):
        where = f"labels: structure {names[wrong[0]]}"
        allowed = f"{n_atoms[wrong[0]]}, the size of the structure that was predicted"
        raise wrong_value(where, "n_atoms", labelled[wrong[0]], allowed)


@dataclass(frozen=True)
class Labelled:
    """A dataset with its labels, read once for all runs that are evaluated on it."""

    graphs: Graphs
    labels: pd.DataFrame
    where: Path | str
    """The label table's file."""

    @classmethod
    def read(cls, graphs: Path | str, labels: Path | str) -> "Labelled":
        """Read both.

        Raises
        ------
        PeslossError
            When one is missing or damaged.
        """
        table = read_table(labels, ("structure", "split", "n_atoms"), unique=("structure",))
        return cls(Graphs.read(graphs), table, labels)

    @property
    def held_out(self) -> pd.Series:
        """Names of the structures of validation and test."""
        return self.labels.structure[self.labels.split != "train"]


def evaluate(path: Path, known: Labelled) -> None:
    """Write the two error tables of the run in the folder ``path``, and their manifest.

    Raises
    ------
    PeslossError
        When the predictions are not those that the record goes with, or the labels not those of
        the held-out structures.
    """
    folder = RunFolder(path)
    predictions = folder.check("predictions.npz")
    (predicted,) = read_predictions(predictions, ("structure",)).values()
    same_structures(known.held_out, known.where, predicted, predictions)
    written = [path / name for name in EVALUATED]
    for name, table in zip(
        written, error_tables(predictions, known.graphs, known.labels), strict=True
    ):
        write_table(name, table)
    write_manifest(path / EVALUATION, {"run": folder.record["run"]}, written, [predictions])


def evaluate_run(path: Path, graphs: Path | str, labels: Path | str) -> None:
    """Evaluate one run: see `evaluate`."""
    evaluate(path, Labelled.read(graphs, labels))
