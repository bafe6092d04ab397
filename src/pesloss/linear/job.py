"""Stages of the exact arm, from files to files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pesloss.dataset_statistics import DatasetStatistics
from pesloss.errors import wrong_value
from pesloss.files import read_table, write_table
from pesloss.graphs import Graphs
from pesloss.linear import efficiency, fit, summary
from pesloss.linear.features import Features, drawn_features, frozen_features
from pesloss.settings import ModelSpec
from pesloss.specification import load
from pesloss.training.objective import scales_of

N_MODELS = 3
STRUCTURES = ("structure", "group", "phase", "n_atoms", "energy")


def write_features(
    path: str, table: str, statistics: str, graphs: Sequence[str], model: str, seed: int
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
        File of the model whose initial features are taken.
    seed
        Seed of features that are drawn.
    """
    if graphs:
        known = DatasetStatistics.read(statistics)
        spec = load(ModelSpec, model)
        frozen_features(Graphs.read(graphs[0]), known, spec, N_MODELS).write(path)
        return
    rows = read_table(table, STRUCTURES)
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
    found = fit.fit_linear(
        Features.read(inputs["features"]),
        read_table(inputs["table"], STRUCTURES),
        DatasetStatistics.read(inputs["statistics"]),
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
    rows = read_table(inputs["table"], (*STRUCTURES, "energy_variance"))
    rows = rows.iloc[: fit.MOST_STRUCTURES]
    features = Features.read(inputs["features"])
    if list(features.structure[: len(rows)]) != list(rows.structure):
        raise wrong_value(inputs["features"], "structures", "others", f"those of {inputs['table']}")
    statistics = DatasetStatistics.read(inputs["statistics"])
    table = efficiency.efficiency_table(
        statistics.composition(rows),
        features.values[0, : len(rows)],
        rows.energy_variance.to_numpy(float),
        scales_of(statistics),
        n_replicates,
        np.random.default_rng(seed),
    )
    write_table(path, table)


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
