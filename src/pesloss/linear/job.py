"""Stages of the exact arm, from files to files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pesloss.data.graphs import Graphs
from pesloss.job.errors import wrong_value
from pesloss.job.files import read_table, same_structures, write_table
from pesloss.linear import efficiency, fit, summary
from pesloss.linear.features import Features, drawn_features, frozen_features
from pesloss.spec.settings import ModelSpec
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.training.objective import scales_of

N_MODELS = 3
STRUCTURES = ("structure", "group", "phase", "n_atoms", "energy")


def write_features(
    path: str, table: str, statistics: str, graphs: Sequence[str], model: ModelSpec, seed: int
) -> None:
    """Write the features of a dataset's structures: three sets.

    Parameters
    ----------
    path
        Where to.
    table, statistics
        Files of the dataset.
    graphs
        Its file of neighbour lists, or none for a dataset without geometry.
    model
        The model whose initial features are taken.
    seed
        Seed of features that are drawn.
    """
    rows = read_table(table, STRUCTURES, unique=("structure",))
    if graphs:
        read = Graphs.read(graphs[0])
        same_structures(read.structure, graphs[0], rows.structure, table)
        frozen_features(read, _statistics(statistics), model, N_MODELS).write(path)
        return
    names, sizes = rows.structure.to_numpy(str), rows.n_atoms.to_numpy(float)
    drawn_features(names, sizes, N_MODELS, np.random.default_rng(seed)).write(path)


def fit_dataset(
    path: str,
    inputs: Mapping[str, str],
    n_replicates: int,
    seed: int,
    watch: Callable[[range], Iterable[int]],
) -> None:
    """Write the fits of a dataset to ``path``; inputs are features, table and statistics."""
    features, rows = _read(inputs, STRUCTURES)
    found = fit.fit_linear(
        features,
        rows,
        _statistics(inputs["statistics"]),
        n_replicates,
        np.random.default_rng(seed),
        watch,
    )
    write_table(path, found)


def write_efficiency(path: str, inputs: Mapping[str, str], n_replicates: int, seed: int) -> None:
    """Write what each weighting costs on a drawn dataset, whose covariance is known.

    Raises
    ------
    PeslossError
        When the dataset was not drawn from the variance model.
    """
    features, rows = _read(inputs, (*STRUCTURES, "energy_variance"))
    rows = rows.iloc[: fit.MOST_STRUCTURES]
    if list(features.structure[: len(rows)]) != list(rows.structure):
        raise wrong_value(inputs["features"], "structures", "others", f"those of {inputs['table']}")
    statistics = _statistics(inputs["statistics"])
    table = efficiency.efficiency_table(
        statistics.composition(rows),
        features.values[0, : len(rows)],
        rows.energy_variance.to_numpy(float),
        scales_of(statistics),
        n_replicates,
        np.random.default_rng(seed),
    )
    write_table(path, table)


def _read(inputs: Mapping[str, str], columns: Sequence[str]) -> tuple[Features, pd.DataFrame]:
    """Return features and table of a dataset, which are of the same structures."""
    features = Features.read(inputs["features"])
    rows = read_table(inputs["table"], columns, unique=("structure",))
    same_structures(features.structure, inputs["features"], rows.structure, inputs["table"])
    return features, rows


def _statistics(path: str) -> DatasetStatistics:
    """Return the statistics of the dataset whose folder ``path`` lies in."""
    return DatasetStatistics.read(path, Path(path).parent.name)


def summarize_all(paths: Sequence[str]) -> pd.DataFrame:
    """Return one row a dataset: best exponents and data multipliers with their intervals."""
    parts = [summary.summarize(Path(path).stem, read_table(path, fit.COLUMNS)) for path in paths]
    return pd.concat(parts) if parts else pd.DataFrame(columns=summary.TABLE)


def join_efficiencies(paths: Sequence[str]) -> pd.DataFrame:
    """Return the efficiencies of all drawn datasets, with a column ``dataset``."""
    columns = ["dataset", *efficiency.COLUMNS]
    parts = [
        read_table(path, efficiency.COLUMNS).assign(dataset=Path(path).name.split(".")[0])
        for path in paths
    ]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)
