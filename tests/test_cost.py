"""Costs: shared trainings split without loss, plans that scale as they must."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pesloss.job.files import write_table
from pesloss.plan.cost import JOB_SECONDS, hours, known_rates, plan_cost, plan_line
from pesloss.report.cost import (
    RECORD_COLUMNS,
    claim_cost,
    cost_by_claim,
    records_table,
    training_rates,
)
from pesloss.spec.manifest import write_manifest
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec

MODELS = {"schnet": ModelSpec(representation="schnet")}
TRAINING = TrainingSpec(n_steps=1000, batch_size=10)
RUNS = [Run("si_sw", "schnet", loss, seed=seed) for loss in ("raw", "sqrt_n") for seed in (0, 1)]
ALONE = [[run] for run in RUNS]
RATES = pd.DataFrame(
    {"dataset": ["si_sw", "other"], "model": "schnet", "seconds_per_structure": [0.01, 0.03]}
).assign(n_runs=1)


def _record(run: Run, seconds: float, n_steps: int = 100) -> dict[str, object]:
    return {
        "run": str(run.folder),
        **run.columns,
        "model_settings": MODELS["schnet"].model_dump(),
        "training_settings": {**TRAINING.model_dump(), "n_steps": n_steps},
        "hashes": {"data": "d", "final_weights": "w"},
        "n_train": 5,
        "n_parameters": 7,
        "final": {"energy_rmse_ev_per_atom": 0.1, "force_rmse_ev_per_angstrom": 0.2},
        "commit": "abc",
        "versions": {"python": "3.11"},
        "seconds": seconds,
        "peak_memory_mib": 1.0,
        "repeat_with": "snakemake",
    }


@pytest.fixture
def records(tmp_path: Path) -> pd.DataFrame:
    paths = []
    for i, run in enumerate(RUNS):
        paths.append(tmp_path / run.folder / "record.json")
        write_manifest(paths[-1], _record(run, 10.0 * (i + 1)), [])
    return records_table(paths)


def test_a_record_becomes_a_row(records: pd.DataFrame) -> None:
    assert list(records.columns) == RECORD_COLUMNS
    assert list(records.run) == [str(run.folder) for run in RUNS]
    row = records.iloc[0]
    assert (row.hash_data, row.hash_final_weights, row.final_energy_rmse_ev_per_atom) == (
        *("d", "w"),
        0.1,
    )
    assert (row.n_steps, row.n_features, row.python) == (100, 32, "3.11")


def test_no_runs_give_empty_tables() -> None:
    records = records_table([])
    assert list(records.columns) == RECORD_COLUMNS
    costs = claim_cost(records, {"labels": []}, {"labels": ["C1", "C1", "C2"]})
    assert costs.iloc[0].tolist() == ["labels", "C1 C2", 0, 0.0, 0.0]
    assert training_rates(records).empty


def test_shared_trainings_are_split_and_add_up(records: pd.DataFrame) -> None:
    names = list(records.run)
    runs = {"a": names, "b": names[:2], "c": names[1:3], "labels": []}
    claims = {"a": ["C1", "C2", "C1"], "b": ["C2"], "c": ["C10"], "labels": ["C1"]}
    costs = claim_cost(records, runs, claims).set_index("ablation")
    assert costs.seconds.sum() == pytest.approx(records.seconds.sum())
    assert costs.seconds_in_full.to_dict() == {"a": 100.0, "b": 30.0, "c": 50.0, "labels": 0.0}
    assert costs.seconds["b"] == pytest.approx(10 / 2 + 20 / 3)
    by_claim = cost_by_claim(costs.reset_index())
    assert list(by_claim.claim) == ["C1", "C2", "C10"]
    assert by_claim.seconds.sum() == pytest.approx(records.seconds.sum())


def test_a_measured_plan_is_estimated_at_what_it_cost(records: pd.DataFrame) -> None:
    rates = training_rates(records)
    assert rates.seconds_per_structure[0] == pytest.approx(np.median([10, 20, 30, 40]) / 1000)
    again = plan_cost(ALONE, MODELS, TrainingSpec(n_steps=100, batch_size=10), rates)
    assert again.seconds == pytest.approx(records.seconds.sum() + len(RUNS) * JOB_SECONDS)
    assert again.n_guessed == 0


def test_a_plan_scales_with_steps_batches_and_large_models() -> None:
    def training(**changes: int) -> float:
        spec = TrainingSpec.model_validate({**TRAINING.model_dump(), **changes})
        return plan_cost(ALONE[:1], MODELS, spec, RATES).seconds - JOB_SECONDS

    def model(**changes: float) -> float:
        changed = Run("si_sw", "schnet", "raw", changes=tuple(changes.items()))
        return plan_cost([[changed]], MODELS, TRAINING, RATES).seconds - JOB_SECONDS

    assert training() == pytest.approx(100.0)
    assert training(n_steps=3000) == pytest.approx(3 * training())
    assert training(batch_size=40) == pytest.approx(4 * training())
    assert model(n_features=128) == pytest.approx(4 * training())
    assert model(n_features=4) == pytest.approx(training())
    assert model(n_steps=10) == pytest.approx(training() / 100)


def test_data_never_timed_are_counted_and_given_the_mean_rate() -> None:
    cost = plan_cost([[Run("mine", "schnet", "raw")]], MODELS, TRAINING, RATES)
    assert cost.n_guessed == 1
    assert cost.seconds == pytest.approx(JOB_SECONDS + 0.02 * 10_000)
    assert plan_cost(ALONE[:1], MODELS, TRAINING).n_guessed == 1


def test_finished_trainings_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs" / RUNS[0].folder / "record.json"
    path.parent.mkdir(parents=True)
    path.touch()
    cost = plan_cost(ALONE, MODELS, TRAINING, RATES, tmp_path)
    assert (cost.n_trainings, cost.n_finished) == (3, 1)
    assert plan_cost(ALONE[:1], MODELS, TRAINING, RATES, tmp_path).seconds == 0


def test_wall_time_is_that_of_the_longest_training_at_least() -> None:
    cost = plan_cost(ALONE, MODELS, TRAINING, RATES)
    assert cost.wall_seconds(2) == pytest.approx(cost.seconds / 2)
    assert cost.wall_seconds(1000) == pytest.approx(cost.longest_seconds)


def test_runs_of_one_job_start_once_and_those_that_are_finished_cost_nothing(
    tmp_path: Path,
) -> None:
    apart, together = (plan_cost(g, MODELS, TRAINING, RATES) for g in (ALONE, [RUNS[:3], RUNS[3:]]))
    assert (apart.n_jobs, together.n_jobs) == (4, 2)
    assert (apart.n_trainings, together.n_trainings) == (4, 4)
    assert apart.seconds - together.seconds == pytest.approx(2 * JOB_SECONDS)
    assert together.longest_seconds == pytest.approx(300.0 + JOB_SECONDS)
    write_table(tmp_path / "runs" / RUNS[3].folder / "record.json", RATES)
    left = plan_cost([RUNS[:3], RUNS[3:]], MODELS, TRAINING, RATES, tmp_path)
    assert (left.n_jobs, left.n_trainings, left.n_finished) == (1, 3, 1)
    assert left.seconds == together.longest_seconds


def test_the_line_names_trainings_time_and_cores() -> None:
    cost = plan_cost(ALONE, MODELS, TRAINING, RATES)
    text = plan_line(cost, "full", 2)
    assert text == (
        "preset full: 4 trainings in 4 jobs to do (0 finished), about 7 min of one core, "
        "4 min with --cores 2 (an estimate from measured rates)"
    )
    assert "--cores" not in plan_line(cost, "full", None)
    assert "4 of them on data never timed" in plan_line(
        plan_cost(ALONE, MODELS, TRAINING), "full", 2
    )
    assert "no trainings left" in plan_line(plan_cost([], MODELS, TRAINING), "full", 2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "1 min"), (600, "10 min"), (5400, "1.5 h"), (864000, "10.0 days")]
)
def test_hours(seconds: float, text: str) -> None:
    assert hours(seconds) == text


def test_rates_are_read_where_they_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "training_rates.csv"
    assert known_rates(path) is None
    write_table(path, RATES)
    assert known_rates(path) is not None
