"""Errors of a trained model, structure by structure and atom by atom."""

from pathlib import Path

import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from numpy.typing import NDArray

from pesloss.data.graphs import Graphs
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import read_table, same_structures, write_table
from pesloss.spec.manifest import RunFolder, write_manifest
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


def evaluate_run(
    record: Path,
    graphs: Path,
    labels: Path,
    structures_out: Path,
    atoms_out: Path,
    evaluation_out: Path,
) -> None:
    """Write the two error tables of a run, and the manifest that says what they were made from.

    Raises
    ------
    PeslossError
        When the predictions are not those that the record goes with, or the labels not those of
        the held-out structures.
    """
    folder = RunFolder(record.parent)
    predictions = folder.check("predictions.npz")
    table = read_table(labels, ("structure", "split", "n_atoms"), unique=("structure",))
    held_out = table.structure[table.split != "train"]
    (predicted,) = read_predictions(predictions, ("structure",)).values()
    same_structures(held_out, labels, predicted, predictions)
    structures, atoms = error_tables(predictions, Graphs.read(graphs), table)
    write_table(structures_out, structures)
    write_table(atoms_out, atoms)
    tables = (structures_out, atoms_out)
    write_manifest(evaluation_out, {"run": folder.record["run"]}, tables, [predictions])
