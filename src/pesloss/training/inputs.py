"""What a run is trained on, read and checked before anything is trained."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from pesloss.data.graphs import Graphs
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import read_table, same_structures
from pesloss.statistics.dataset import SMALLEST_FORCE_SCALE, DatasetStatistics

SPLITS = ("train", "validation", "test")
LARGEST_LABEL = 1e15
"""eV and eV/Å: the squares of what is larger have no sum in single precision."""
Split = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Inputs:
    """What a run is trained on: paths of the earlier stages' results."""

    graphs: Path | str
    splits: Path | str
    statistics: Path | str

    def read(self, dataset: str) -> tuple[Graphs, Split, DatasetStatistics]:
        """Read what belongs to ``dataset``: structures, the indices of each split, statistics.

        Raises
        ------
        PeslossError
            When a file is damaged or another dataset's, a split is empty, a label is not a finite
            number, or the forces on a species are all zero.
        """
        statistics = DatasetStatistics.read(self.statistics, dataset)
        graphs = Graphs.read(self.graphs)
        split = splits_of(graphs, self.splits, self.graphs)
        n_train = len(split["train"])
        if n_train != statistics.n_structures:
            allowed = f"{n_train}, those of split 'train' in {self.splits}; delete both, run again"
            raise wrong_value(
                str(self.statistics), "n_structures", statistics.n_structures, allowed
            )
        check_labels(graphs, split["train"], str(self.graphs))
        return graphs, split, statistics


def splits_of(graphs: Graphs, path: Path | str, graphs_path: Path | str = "graphs") -> Split:
    """Return the indices of each split's structures.

    Raises
    ------
    PeslossError
        When a split is empty or unknown, or the structures are not those of the graphs, each once.
    """
    table = read_table(path, ("structure", "split"), unique=("structure",))
    same_structures(table.structure, path, graphs.structure, graphs_path)
    unknown = table[~table.split.isin(SPLITS)]
    if len(unknown):
        where = f"{path}: structure {unknown.structure.iloc[0]}"
        raise wrong_value(where, "split", unknown.split.iloc[0], SPLITS)
    split = {name: graphs.select(list(table.structure[table.split == name])) for name in SPLITS}
    empty = [name for name, index in split.items() if len(index) == 0]
    if empty:
        raise PeslossError(f"{path}: split {empty[0]!r} is empty; a training needs all of {SPLITS}")
    return split


def check_labels(graphs: Graphs, train: NDArray[np.int64], where: str) -> None:
    """Refuse labels that nothing can be learnt from.

    Raises
    ------
    PeslossError
        Naming the first structure with a label that is no finite number, or the species whose
        forces are all zero in the training split.
    """
    owner = np.repeat(np.arange(len(graphs.n_atoms)), graphs.n_atoms)
    for key, whose in (("energy", np.arange(len(graphs.energy))), ("forces", owner)):
        values = getattr(graphs, key).reshape(len(whose), -1)
        wrong = ~(np.abs(values) < LARGEST_LABEL)
        bad = np.unique(whose[wrong.any(axis=1)])
        if len(bad):
            name = f"{where}: structure {graphs.structure[bad[0]]}"
            more = f" ({len(bad)} such structures)" if len(bad) > 1 else ""
            allowed = f"finite numbers below {LARGEST_LABEL:g}{more}"
            raise wrong_value(name, key, float(values[wrong][0]), allowed)
    trained = np.isin(owner, train)
    for number in np.unique(graphs.numbers[trained]):
        forces = graphs.forces[trained & (graphs.numbers == number)]
        if np.sqrt(np.mean(forces**2)) < SMALLEST_FORCE_SCALE:
            raise PeslossError(
                f"{where}: forces on {chemical_symbols[number]} are zero in all of the training "
                f"split ({len(forces)} atoms); a training needs labels that are not"
            )
