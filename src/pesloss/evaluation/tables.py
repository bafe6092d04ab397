"""Tables over all datasets and all runs, from which figures are drawn."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pesloss.evaluation.results import RunResult, read_run
from pesloss.evaluation.score import score
from pesloss.inference import exponent_of
from pesloss.job.files import read_table, same_structures
from pesloss.spec.run import RUN_COLUMNS
from pesloss.statistics.dataset import DatasetStatistics

AXES = ("size_group", "composition_group", "phase")
SUMMARY = (
    "n_structures",
    "energy_rmse_mev_per_atom",
    "energy_rmse_mev_per_root_atom",
    "energy_rmse_mev",
    "standardized_energy_rmse",
    "bias_mev_per_atom",
    "spread_mev_per_root_atom",
    "force_rmse_mev_per_angstrom",
)
SETTINGS = ("n_features", "n_steps", "learning_rate")
COST = ("seconds", "peak_memory_mib")
HISTORY = (
    "step",
    "seconds",
    "energy_rmse_ev",
    "energy_rmse_ev_per_atom",
    "force_rmse_ev_per_angstrom",
)


def joined(names: Sequence[str], paths: Sequence[str]) -> pd.DataFrame:
    """Join tables of single datasets under a column ``dataset``; empty ones add nothing."""
    tables = [
        read_table(path).assign(dataset=name) for name, path in zip(names, paths, strict=True)
    ]
    filled = [table for table in tables if len(table)] or tables[:1]
    table = pd.concat(filled, ignore_index=True)
    return table[["dataset", *(column for column in table if column != "dataset")]]


def statistics_table(paths: Sequence[str]) -> pd.DataFrame:
    """Return one row a dataset and species: μ_z, σ_z (eV) and η_z (eV/Å) with standard errors."""
    rows = []
    for path in paths:
        found = DatasetStatistics.read(path)
        for i, species in enumerate(found.species):
            rows.append(
                {
                    "dataset": found.dataset,
                    "species": species,
                    "mean_ev": found.mean[i],
                    "mean_se_ev": found.mean_se[i],
                    "std_ev": found.std[i],
                    "std_se_ev": found.std_se[i],
                    "floored": species in found.floored,
                    "force_scale_ev_per_angstrom": found.force_scale[i]
                    if found.force_scale
                    else None,
                    "tau_ev": found.shared["tau"],
                    "kappa_ev": found.shared["kappa"],
                    "n_structures": found.n_structures,
                    "unidentified": "; ".join(found.unidentified),
                }
            )
    return pd.DataFrame(rows)


def run_tables(
    evaluated: Sequence[str],
    labels: Sequence[str],
    watch: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> dict[str, pd.DataFrame]:
    """Summarise finished runs.

    Parameters
    ----------
    evaluated
        A file in the folder of each run.
    labels
        Label tables, one a dataset, in folders of the dataset's name.
    watch
        Wraps the loop over the runs.

    Returns
    -------
    dict
        ``runs``: one row a run; ``groups``: one a run and group of test structures; ``species``:
        one a run and species; ``signal``: one a run, window of steps and group; ``errors``: one
        a run and test structure; ``history``: the validation curves.
    """
    groups_of = {
        Path(p).parent.name: read_table(p, unique=("structure",)).set_index("structure")
        for p in labels
    }
    parts: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("runs", "groups", "species", "signal", "errors", "history")
    }
    for path in watch(evaluated):
        result = read_run(Path(path).parent)
        dataset = result.run.dataset
        groups = groups_of[dataset]
        held_out = groups.index[groups.split != "train"]
        same_structures(result.structures.structure, path, held_out, f"labels of {dataset}")
        about = result.run.columns
        for name, table in _tables(result, groups):
            parts[name].append(table.assign(**about)[[*about, *table.columns]])
    return {
        name: pd.concat(tables, ignore_index=True) if tables else empty(name)
        for name, tables in parts.items()
    }


def empty(name: str) -> pd.DataFrame:
    """Return the table ``name`` of a suite without runs: its columns and no rows."""
    errors = ["structure", "phase", "n_atoms", "size_group", "composition_group"]
    means = list(SUMMARY)
    columns = {
        "runs": ["validation_score", *means, "error_exponent", *SETTINGS, *COST],
        "groups": ["axis", "group", "mean_n_atoms", *means],
        "species": ["species", "force_rmse_ev_per_angstrom", "n_atoms"],
        "signal": ["step", "axis", "quantity", "group", "mean_n_atoms", "share_over_expected"],
        "errors": [*errors, "energy_error", "energy_scale", "force_mse"],
        "history": list(HISTORY),
    }
    return pd.DataFrame(columns=[*RUN_COLUMNS, *columns[name]])


def _tables(result: RunResult, labels: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    tested = result.split("test")
    yield "runs", pd.DataFrame([_run_row(result, tested)])
    yield "groups", _group_rows(tested)
    species = result.atoms.groupby("species").force_error_square.agg(["mean", "count"])
    yield (
        "species",
        pd.DataFrame(
            {
                "species": species.index,
                "force_rmse_ev_per_angstrom": np.sqrt(species["mean"].to_numpy()),
                "n_atoms": species["count"].to_numpy(),
            }
        ),
    )
    yield "signal", _signal_rows(result, labels)
    keep = ["structure", "phase", "n_atoms", "size_group", "composition_group"]
    yield "errors", tested[[*keep, "energy_error", "energy_scale", "force_mse"]]
    yield "history", _history(result)


def _history(result: RunResult) -> pd.DataFrame:
    """Return the validation curve with the time at each point: a step takes as long as another."""
    curve = result.table("history.csv", ("step", "energy_rmse_ev_per_atom"))
    seconds = result.record["seconds"] * curve.step / max(curve.step.max(), 1)
    return curve.assign(seconds=seconds)[list(HISTORY)]


def _run_row(result: RunResult, tested: pd.DataFrame) -> dict[str, float]:
    ones = np.ones((1, len(tested)))
    one_size = tested.n_atoms.nunique() < 2
    square = tested.energy_error**2
    return {
        "validation_score": score(result.split("validation")),
        **summary(tested),
        "error_exponent": np.nan if one_size else exponent_of(tested.n_atoms, square, ones)[0],
        "n_features": result.record["model_settings"]["n_features"],
        "n_steps": result.record["training_settings"]["n_steps"],
        "learning_rate": result.record["training_settings"]["learning_rate"],
        "seconds": result.record["seconds"],
        "peak_memory_mib": result.record["peak_memory_mib"],
    }


def summary(errors: pd.DataFrame) -> dict[str, float]:
    """Summarise errors of structures, in plain units and in standardised ones.

    ``bias`` is the mean of ΔE/N, which grows as N; ``spread`` the standard deviation of ΔE/√N,
    which grows as √N (science.md §5).
    """
    error, n = errors.energy_error, errors.n_atoms
    values = (
        len(errors),
        1e3 * _rms(error / n),
        1e3 * _rms(error / np.sqrt(n)),
        1e3 * _rms(error),
        _rms(error / errors.energy_scale),
        1e3 * float(np.mean(error / n)),
        1e3 * float(np.std(error / np.sqrt(n))),
        1e3 * float(np.sqrt(np.average(errors.force_mse, weights=n))),
    )
    return dict(zip(SUMMARY, values, strict=True))


def _rms(values: pd.Series) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _group_rows(tested: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {"axis": axis, "group": name, "mean_n_atoms": part.n_atoms.mean(), **summary(part)}
        for axis in AXES
        for name, part in tested.groupby(axis)
    ]
    return pd.DataFrame(rows)


def _signal_rows(result: RunResult, labels: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each group in loss and gradient, over its share of structures."""
    parts = [
        _shares(table, quantities, labels, axis)
        for axis in ("size_group", "composition_group")
        for table, quantities in (
            (result.loss_signal, ["energy_term", "force_term"]),
            (result.gradient_signal, ["energy_gradient", "energy_jacobian", "force_gradient"]),
        )
    ]
    return pd.concat(parts, ignore_index=True)


def _shares(
    table: pd.DataFrame, quantities: list[str], labels: pd.DataFrame, axis: str
) -> pd.DataFrame:
    group = table.structure.map(labels[axis])
    size = table.structure.map(labels.n_atoms)
    long = table.assign(axis=axis, group=group, n_atoms=size).melt(
        ["step", "axis", "group", "n_atoms"], quantities, var_name="quantity"
    )
    by_group = long.groupby(["step", "axis", "quantity", "group"]).agg(
        value=("value", "mean"), mean_n_atoms=("n_atoms", "mean"), n_structures=("value", "count")
    )
    overall = long.groupby(["step", "quantity"]).value.mean()
    found = by_group.reset_index().merge(overall.rename("overall"), on=["step", "quantity"])
    found["share_over_expected"] = found.value / found.overall
    return found.drop(columns=["value", "overall"])
