"""What the jobs of a results tree cost, and what each claim cost."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pesloss.job import provenance
from pesloss.job.files import is_scratch, read_json
from pesloss.job.script import COST_SUFFIX
from pesloss.spec.manifest import read_manifest
from pesloss.spec.names import claim_number
from pesloss.spec.run import RUN_COLUMNS

FINAL = ("energy_rmse_ev_per_atom", "force_rmse_ev_per_angstrom")
HASHES = (
    "data", "split", "statistics", "model", "training", "initial_weights", "batches",
    "final_weights",
)  # fmt: skip
RECORD_COLUMNS = [
    "run", *RUN_COLUMNS, "device", "seconds", "peak_memory_mib", "n_steps", "batch_size",
    "n_features", "n_interactions", "n_train", "n_parameters",
    *(f"final_{name}" for name in FINAL), "commit",
    *(f"hash_{name}" for name in HASHES), *("python", *provenance.PACKAGES), "repeat_with",
]  # fmt: skip
CLAIM_COST_COLUMNS = ["ablation", "claims", "n_runs", "seconds", "seconds_in_full"]
RATE_COLUMNS = ["dataset", "model", "seconds_per_structure", "n_runs"]
AFTER = ("tabulate_cost", "write_report")
"""Rules whose jobs come after the table of costs, or make it."""
COST_COLUMNS = ["rule", "n_jobs", "seconds", "longest_seconds", "peak_memory_mib"]


def jobs_before(logs: Path) -> list[dict[str, Any]]:
    """Return what the jobs left beside their logs that come before this table, in order of names.

    Those that come after it have left theirs only where they ran before: in a fresh folder none.
    """
    files = sorted(path for path in logs.rglob(f"*{COST_SUFFIX}") if not is_scratch(path))
    found = [read_json(path, ("rule", "seconds")) for path in files]
    return [job for job in found if job["rule"] not in AFTER]


def cost_table(logs: Path) -> pd.DataFrame:
    """Add up the cost files below ``logs`` by rule.

    Returns
    -------
    DataFrame
        rule, n_jobs, seconds in all, seconds of the longest job, peak memory in MiB.
    """
    jobs = pd.DataFrame(jobs_before(logs), columns=["rule", "seconds", "peak_memory_mib"])
    table = jobs.groupby("rule").agg(
        n_jobs=("seconds", "count"),
        seconds=("seconds", "sum"),
        longest_seconds=("seconds", "max"),
        peak_memory_mib=("peak_memory_mib", "max"),
    )
    return table.sort_values("seconds", ascending=False).reset_index().round(1)


def records_table(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Put the records of runs into one table, a row a run.

    Parameters
    ----------
    paths
        Files ``record.json`` of finished runs.

    Returns
    -------
    DataFrame
        ``RECORD_COLUMNS``: what was trained, its seconds and memory, the last point of the
        validation curve (eV/atom, eV/Å), commit, hashes, versions, and how to repeat it.

    Raises
    ------
    PeslossError
        When a record is damaged or another run's.
    """
    rows = [_record_row(read_manifest(Path(path))) for path in paths]
    return pd.DataFrame(rows, columns=RECORD_COLUMNS)


def _record_row(record: Mapping[str, Any]) -> dict[str, Any]:
    settings = {**record["model_settings"], **record["training_settings"]}
    return {
        **settings,
        **record["versions"],
        **{f"final_{name}": record["final"].get(name) for name in FINAL},
        **{f"hash_{name}": record["hashes"].get(name) for name in HASHES},
        **{name: value for name, value in record.items() if name in RECORD_COLUMNS},
    }


def claim_cost(
    records: pd.DataFrame, runs: Mapping[str, Sequence[str]], claims: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Split the seconds of all trainings over the ablations that use them.

    Parameters
    ----------
    records
        Table of `records_table`.
    runs
        Folders of the runs of each ablation; those of labels alone have none.
    claims
        Ids of the claims of each ablation.

    Returns
    -------
    DataFrame
        ``CLAIM_COST_COLUMNS``: one row an ablation. A run that k ablations use gives a k-th of its
        ``seconds`` to each, so that they add up to those of all trainings; ``seconds_in_full`` is
        what the ablation would cost alone.
    """
    seconds = dict(zip(records.run, records.seconds, strict=True))
    used = pd.Series([run for found in runs.values() for run in found], dtype=object).value_counts()
    rows = [
        {
            "ablation": name,
            "claims": " ".join(dict.fromkeys(claims[name])),
            "n_runs": len(found),
            "seconds": float(sum(seconds[run] / used[run] for run in found)),
            "seconds_in_full": float(sum(seconds[run] for run in found)),
        }
        for name, found in runs.items()
    ]
    return pd.DataFrame(rows, columns=CLAIM_COST_COLUMNS).sort_values(
        ["seconds_in_full", "ablation"], ascending=[False, True], ignore_index=True
    )


def cost_by_claim(costs: pd.DataFrame) -> pd.DataFrame:
    """Split the seconds of each ablation equally over its claims.

    Returns
    -------
    DataFrame
        claim, ablations, seconds; the seconds add up to those of ``costs``.
    """
    names = costs.claims.fillna("").astype(str).str.split()
    shares = costs.assign(claim=names, seconds=costs.seconds / names.map(len).clip(lower=1))
    long = shares.explode("claim").dropna(subset="claim")
    found = long.groupby("claim").agg(ablations=("ablation", "nunique"), seconds=("seconds", "sum"))
    order = sorted(found.index, key=claim_number)
    return found.loc[order].reset_index()


def training_rates(records: pd.DataFrame) -> pd.DataFrame:
    """Return how long a structure in a batch takes, by dataset and model.

    Parameters
    ----------
    records
        Table of `records_table`.

    Returns
    -------
    DataFrame
        ``RATE_COLUMNS``: the median over unchanged runs of seconds over steps × batch size.
        Predictions of held-out structures are in it.
    """
    base = records[records.variant == "base"]
    rate = base.seconds / (base.n_steps * base.batch_size)
    found = base.assign(rate=rate).groupby(["dataset", "model"]).rate.agg(["median", "count"])
    found.columns = pd.Index(["seconds_per_structure", "n_runs"])
    return found.reset_index()[RATE_COLUMNS]
