"""What a plan will cost, from what its trainings were measured to take."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pesloss.job.files import read_table
from pesloss.report.cost import RATE_COLUMNS
from pesloss.spec.run import Run, settings_of
from pesloss.spec.settings import ModelSpec, TrainingSpec

# For data that no rate was measured on: seconds of one core per structure in a batch, forward and
# backward, the mean over seven data sets of 16 to 57 atoms in 162 trainings of the default preset.
SECONDS_PER_STRUCTURE = {"schnet": 2.5e-3, "painn": 7.2e-3}
JOB_SECONDS = 5.4  # a training job less its training: start of Python, imports
FEATURES_TIMES_INTERACTIONS = 64  # of the models that the rates were measured on


@dataclass(frozen=True)
class PlanCost:
    """What trainings will cost, from measured rates."""

    n_trainings: int
    """Trainings without a result yet."""
    n_jobs: int
    """Jobs in which they are done."""
    n_finished: int
    seconds: float
    """Of one core, estimated."""
    longest_seconds: float
    """Of the longest job."""
    n_guessed: int
    """Trainings on data or models without a rate of their own."""

    def wall_seconds(self, cores: int) -> float:
        """Return the seconds it takes ``cores`` cores, one job on each at a time."""
        return max(self.seconds / max(cores, 1), self.longest_seconds)


def plan_cost(
    groups: Iterable[Sequence[Run]],
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
    groups, models, training
        The plan: the runs of each job.
    rates
        Table of `pesloss.report.cost.training_rates`; without it, or a row in it, the mean over
        data of the model.
    results
        The results folder; runs with a record there are finished.
    """
    groups, known = list(groups), rates_by_model(rates)
    pending = [
        [run for run in runs if results is None or not _finished(run, results)] for runs in groups
    ]
    jobs = [runs for runs in pending if runs]
    found = [job_seconds(runs, models[runs[0].model], training, known) for runs in jobs]
    times = [0.0, *(seconds for seconds, _ in found)]
    n_runs, guessed = sum(map(len, jobs)), sum(n for _, n in found)
    n_finished = sum(map(len, groups)) - n_runs
    return PlanCost(n_runs, len(jobs), n_finished, sum(times), max(times), guessed)


def job_seconds(
    runs: Sequence[Run],
    model: ModelSpec,
    training: TrainingSpec,
    known: Mapping[tuple[str, str], float],
) -> tuple[float, int]:
    """Estimate the seconds of a job that trains runs of one model.

    Parameters
    ----------
    runs, model, training
        What is trained, and the settings of the suite that the runs' changes apply to.
    known
        Seconds per structure of `rates_by_model`.

    Returns
    -------
    tuple
        Seconds of one core, and how many of the runs are a guess, see `training_seconds`.
    """
    found = [training_seconds(run, model, training, known) for run in runs]
    return JOB_SECONDS + sum(seconds for seconds, _ in found), sum(guess for _, guess in found)


def training_seconds(
    run: Run, model: ModelSpec, training: TrainingSpec, known: Mapping[tuple[str, str], float]
) -> tuple[float, bool]:
    """Estimate the seconds of one training, without the start of its job.

    Parameters are those of `job_seconds`.

    Returns
    -------
    tuple
        Seconds of one core, and whether they are a guess: no rate of the run's own is known.
    """
    changed, spec = settings_of(run, model, training)
    rate, is_guess = _rate(run, changed, known)
    size = changed.n_features * changed.n_interactions / FEATURES_TIMES_INTERACTIONS
    return rate * spec.n_steps * spec.batch_size * max(size, 1.0), is_guess


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
        f"preset {preset}: {cost.n_trainings} trainings in {cost.n_jobs} jobs to do "
        f"({cost.n_finished} finished), about {hours(cost.seconds)} of one core{wall} "
        f"(an estimate from measured rates{guess})"
    )


def hours(seconds: float) -> str:
    """Return a time as people plan it: minutes, hours or days."""
    if seconds < 3600:
        return f"{max(seconds / 60, 1):.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
