"""What the jobs of a results tree cost, what each claim cost, and what a plan will cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pesloss.job import provenance
from pesloss.job.files import is_scratch, read_json, read_table
from pesloss.job.script import COST_SUFFIX
from pesloss.spec.manifest import read_manifest
from pesloss.spec.names import claim_number
from pesloss.spec.run import RUN_COLUMNS, Run, settings_of
from pesloss.spec.settings import ModelSpec, TrainingSpec

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
COST_COLUMNS = ["rule", "n_jobs", "seconds", "longest_seconds", "peak_memory_mib"]

# For data that no rate was measured on: seconds of one core per structure in a batch, forward and
# backward, the mean over seven data sets of 16 to 57 atoms in 162 trainings of the default preset.
SECONDS_PER_STRUCTURE = {"schnet": 2.5e-3, "painn": 7.2e-3}
JOB_SECONDS = 5.4  # a training job less its training: start of Python, imports
FEATURES_TIMES_INTERACTIONS = 64  # of the models that the rates were measured on


def cost_table(logs: Path) -> pd.DataFrame:
    """Add up the cost files below ``logs`` by rule.

    Returns
    -------
    DataFrame
        rule, n_jobs, seconds in all, seconds of the longest job, peak memory in MiB.
    """
    files = sorted(path for path in logs.rglob(f"*{COST_SUFFIX}") if not is_scratch(path))
    found = [read_json(path, ("rule", "seconds")) for path in files]
    jobs = pd.DataFrame(found, columns=["rule", "seconds", "peak_memory_mib"])
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


@dataclass(frozen=True)
class PlanCost:
    """What trainings will cost, from measured rates."""

    n_trainings: int
    """Trainings without a result yet."""
    n_finished: int
    seconds: float
    """Of one core, estimated."""
    longest_seconds: float
    n_guessed: int
    """Trainings on data or models without a rate of their own."""

    def wall_seconds(self, cores: int) -> float:
        """Return the seconds it takes ``cores`` cores, one training on each at a time."""
        return max(self.seconds / max(cores, 1), self.longest_seconds)


def plan_cost(
    runs: Iterable[Run],
    models: Mapping[str, ModelSpec],
    training: TrainingSpec,
    rates: pd.DataFrame | None = None,
    results: Path | None = None,
) -> PlanCost:
    """Estimate what the trainings of a plan cost that have no result yet.

    Time goes with steps × batch size × seconds per structure of the dataset and model, and, for
    models larger than those measured, with features × interactions. Results that are out of date
    count as finished.

    Parameters
    ----------
    runs, models, training
        The plan.
    rates
        Table of `training_rates`; without it, or a row in it, the mean over data of the model.
    results
        The results folder; runs with a record there are finished.
    """
    runs, known = list(runs), rates_by_model(rates)
    pending = [run for run in runs if results is None or not _finished(run, results)]
    found = [training_seconds(run, models[run.model], training, known) for run in pending]
    times = [0.0, *(seconds for seconds, _ in found)]
    guessed = sum(guess for _, guess in found)
    return PlanCost(len(pending), len(runs) - len(pending), sum(times), max(times), guessed)


def training_seconds(
    run: Run, model: ModelSpec, training: TrainingSpec, known: Mapping[tuple[str, str], float]
) -> tuple[float, bool]:
    """Estimate the seconds of one training job.

    Parameters
    ----------
    run, model, training
        What is trained, and the settings of the suite that the run's changes apply to.
    known
        Seconds per structure of `rates_by_model`.

    Returns
    -------
    tuple
        Seconds of one core, and whether they are a guess: no rate of the run's own is known.
    """
    changed, spec = settings_of(run, model, training)
    rate, is_guess = _rate(run, changed, known)
    size = changed.n_features * changed.n_interactions / FEATURES_TIMES_INTERACTIONS
    return JOB_SECONDS + rate * spec.n_steps * spec.batch_size * max(size, 1.0), is_guess


def _finished(run: Run, results: Path) -> bool:
    return (results / "runs" / run.folder / "record.json").is_file()


def rates_by_model(rates: pd.DataFrame | None) -> dict[tuple[str, str], float]:
    """Return rates by dataset and model, and by model (dataset ``""``) their mean over data."""
    if rates is None:
        return {}
    keys = zip(rates.dataset, rates.model, strict=True)
    found = dict(zip(keys, rates.seconds_per_structure, strict=True))
    means = rates.groupby("model").seconds_per_structure.mean()
    return {**found, **{("", str(model)): float(value) for model, value in means.items()}}


def _rate(run: Run, model: ModelSpec, known: Mapping[tuple[str, str], float]) -> tuple[float, bool]:
    if (run.dataset, run.model) in known:
        return known[run.dataset, run.model], False
    return known.get(("", run.model), SECONDS_PER_STRUCTURE[model.representation]), True


def known_rates(path: Path) -> pd.DataFrame | None:
    """Return the rates of the reference results, or nothing where they were not kept."""
    return read_table(path, RATE_COLUMNS) if path.is_file() else None


def plan_line(cost: PlanCost, preset: str, cores: int | None) -> str:
    """Say in one line what a plan costs; ``cores`` is None where it is not known yet."""
    if cost.n_trainings == 0:
        return f"preset {preset}: no trainings left, {cost.n_finished} finished"
    wall = "" if cores is None else f", {hours(cost.wall_seconds(cores))} with --cores {cores}"
    guess = f"; {cost.n_guessed} of them on data never timed" if cost.n_guessed else ""
    return (
        f"preset {preset}: {cost.n_trainings} trainings to do ({cost.n_finished} finished), "
        f"about {hours(cost.seconds)} of one core{wall} (an estimate from measured rates{guess})"
    )


def hours(seconds: float) -> str:
    """Return a time as people plan it: minutes, hours or days."""
    if seconds < 3600:
        return f"{max(seconds / 60, 1):.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
