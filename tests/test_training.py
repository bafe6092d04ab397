"""A training is decided by its inputs: repeatable, resumable, the same for every loss."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import RUN, RunTiny, Tiny, failure, files_in
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pesloss.claims.runs import SAME_FOR_EVERY_LOSS
from pesloss.job.code_digest import PACKAGE
from pesloss.job.errors import PeslossError
from pesloss.job.files import read_json, read_table, write_table
from pesloss.model.batches import Batcher
from pesloss.spec.run import Run
from pesloss.training import loop
from pesloss.training.checkpoint import Checkpoint
from pesloss.training.inputs import splits_of
from pesloss.training.job import RunFiles
from pesloss.training.loop import (
    Training,
    batch_order,
    deterministic,
    learning_rate,
    weights_digest,
)
from pesloss.training.predicting import predict
from pesloss.training.signal import LossSignal, signal_sample

KCAL = 23.060548
Make = Callable[..., Training]


def same_results(one: RunFiles, other: RunFiles) -> bool:
    tables = ("weights", "history", "loss_signal", "gradient_signal", "predictions")
    same = [getattr(one, n).read_bytes() == getattr(other, n).read_bytes() for n in tables]
    digests = [read_json(files.record)["digest"] for files in (one, other)]
    return all(same) and digests[0] == digests[1]


def test_the_same_run_ends_with_the_same_bits(run_tiny: RunTiny) -> None:
    assert same_results(run_tiny("one"), run_tiny("other"))


def test_a_record_says_what_its_weights_are(run_tiny: RunTiny, make_training: Make) -> None:
    files = run_tiny("one")
    record = read_json(files.record)
    model = make_training().model
    model.load_state_dict(torch.load(files.weights, weights_only=True))
    assert weights_digest(model) == record["hashes"]["final_weights"]
    assert record["hashes"]["final_weights"] != record["hashes"]["initial_weights"]
    assert Run.from_folder(record["run"]) == RUN


TRAIN_SLOWLY = """
import sys, time
from pathlib import Path
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.spec.run import Run
from pesloss.training.inputs import Inputs
from pesloss.training.job import RunFiles, train_run

folder = Path(sys.argv[1])
names = ("record.json", "weights.pt", "history.csv", "loss_signal.csv.gz", "gradient_signal.csv",
         "predictions.npz")

def slowly(steps):
    for step in steps:
        time.sleep(0.1)
        yield step

train_run(
    Run("tiny", "schnet", "standardized", "standardized"),
    Inputs(folder / "graphs.npz", folder / "splits.csv", folder / "statistics.json"),
    ModelSpec.model_validate_json(sys.argv[2]),
    TrainingSpec.model_validate_json(sys.argv[3]),
    RunFiles(*(folder / name for name in names)),
    folder / "unfinished.pt",
    checkpoint_seconds=0,
    watch=slowly,
)
"""


def test_a_killed_training_goes_on_to_the_same_bits(
    run_tiny: RunTiny, tiny: Tiny, tmp_path: Path
) -> None:
    unbroken = run_tiny("unbroken")
    folder = tmp_path / "killed" / RUN.folder
    tiny.write(folder)
    settings = (tiny.model.model_dump_json(), tiny.spec.model_dump_json())
    command = [sys.executable, "-c", TRAIN_SLOWLY, str(folder), *settings]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)})
    checkpoint, deadline = folder / "unfinished.pt", time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    time.sleep(0.35)  # some steps on, in the middle of whatever it does
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert checkpoint.exists()
    assert not (folder / "record.json").exists()
    steps: list[int] = []

    def watch(left: range) -> Iterator[int]:
        steps.extend(left)
        yield from left

    resumed = run_tiny("killed", watch=watch)
    assert 0 < steps[0] < tiny.spec.n_steps
    assert same_results(unbroken, resumed)
    assert not checkpoint.exists()


@pytest.mark.parametrize("loss", ["standardized", "calibrated"])
@pytest.mark.parametrize("stop", [1, 4, 6, 12])
def test_a_training_resumes_at_any_step(
    make_training: Make, tmp_path: Path, stop: int, loss: str
) -> None:
    deterministic()
    run = replace(RUN, energy_loss=loss)
    whole = make_training(run)
    expected = whole.run()
    checkpoint = Checkpoint(tmp_path / "c.pt", "key", 0.0)

    def until_stop(steps: range) -> Iterator[int]:
        for step in steps:
            if step == stop:
                raise KeyboardInterrupt
            yield step

    if stop < 12:
        with pytest.raises(KeyboardInterrupt):
            make_training(run).run(checkpoint, until_stop)
    else:
        make_training(run).run(checkpoint)
    resumed = make_training(run)
    found = resumed.run(checkpoint)
    assert weights_digest(resumed.model) == weights_digest(whole.model)
    assert pd.DataFrame(found.history).equals(pd.DataFrame(expected.history))
    for name in ("loss_signal", "gradient_signal"):
        one, other = (pd.concat(getattr(p, name), ignore_index=True) for p in (found, expected))
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_dtype=False)


def test_a_calibrated_loss_learns_at_its_schedule_from_training_structures(
    make_training: Make, run_tiny: RunTiny
) -> None:
    deterministic()
    training = make_training(replace(RUN, energy_loss="calibrated"))
    seen: list[int] = []
    calibrate = training.objective.energy_loss.calibrate

    def watched(composition: NDArray[np.float64], residual: NDArray[np.float64]) -> None:
        seen.append(len(residual))
        calibrate(composition, residual)

    training.objective.energy_loss.calibrate = watched  # type: ignore[method-assign]
    before = training.objective.energy_scale.clone()
    progress = training.run()
    shares = training.objective.energy_loss.schedule
    assert len(shares) == 5
    assert seen == [len(training.train)] * len({round(12 * share) for share in shares})
    assert not torch.allclose(training.objective.energy_scale, before, rtol=1e-3)
    record = read_json(run_tiny("one", replace(RUN, energy_loss="calibrated")).record)
    assert record["energy_loss_state"] == progress.energy_loss
    assert read_json(run_tiny("other").record)["energy_loss_state"] == {}


@pytest.mark.parametrize("damage", ["other key", "truncated", "text", "empty", "no checkpoint"])
def test_a_checkpoint_that_is_not_its_own_is_ignored(
    make_training: Make, tmp_path: Path, damage: str
) -> None:
    deterministic()
    whole = make_training()
    whole.run()
    path = tmp_path / "c.pt"
    other = make_training(Run("tiny", "schnet", "raw", "raw"))
    other.run(Checkpoint(path, "other", 0.0), lambda steps: iter(steps[:5]))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage in ("text", "empty"):
        path.write_text("x" * 100 if damage == "text" else "")
    elif damage == "no checkpoint":
        torch.save([1, 2], path)
    again = make_training()
    again.run(Checkpoint(path, "mine", 1e9))
    assert weights_digest(again.model) == weights_digest(whole.model)


@pytest.mark.parametrize("which", ["energy", "forces"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e200])
def test_a_missing_label_stops_the_run_before_it_starts_and_names_the_structure(
    tiny: Tiny, run_tiny: RunTiny, tmp_path: Path, which: str, split: str, value: float
) -> None:
    names = list(tiny.splits.structure[tiny.splits.split == split])
    sample = signal_sample(tiny.graphs, tiny.graphs.select(names), 6)
    name = str(tiny.graphs.structure[sample[3]])
    values = getattr(tiny.graphs, which).copy()
    first = int(tiny.graphs.n_atoms[: sample[3]].sum())
    values[first if which == "forces" else sample[3]] = value
    broken = replace(tiny, graphs=replace(tiny.graphs, **{which: values}))
    line = failure(lambda: run_tiny("nan", data=broken, watch=pytest.fail))
    expected = f"graphs.npz: structure {name}: {which} is {value}; allowed: finite numbers below"
    assert expected in line
    assert not any(path.exists() for path in vars(files_in(tmp_path / "nan" / RUN.folder)).values())


def test_a_training_that_diverges_writes_nothing(
    run_tiny: RunTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "learning_rate", lambda step, spec: 1e30)
    line = failure(lambda: run_tiny("wild"))
    assert re.search(r"not finite at step \d+ on structure s\d\d.*; nothing was written", line)
    files = files_in(tmp_path / "wild" / RUN.folder)
    assert not any(path.exists() for path in vars(files).values())


def test_whatever_the_loss_the_rest_of_a_run_is_the_same(run_tiny: RunTiny) -> None:
    def hashes(run: Run) -> dict[str, str]:
        files = run_tiny(run.folder.as_posix().replace("/", "_"), run=run)
        return dict(read_json(files.record)["hashes"])

    found = [
        hashes(Run("tiny", "schnet", "raw", "raw")),
        hashes(Run("tiny", "schnet", "per_atom", "standardized", "huber", 10.0)),
    ]
    other_seed = hashes(Run("tiny", "schnet", "raw", "raw", seed=1))
    for key in SAME_FOR_EVERY_LOSS:
        assert found[0][key] == found[1][key]
    assert found[0]["final_weights"] != found[1]["final_weights"]
    for key in ("initial_weights", "batches"):
        assert found[0][key] != other_seed[key]
    for key in ("data", "split", "statistics", "model", "training"):
        assert found[0][key] == other_seed[key]


def test_hashes_tell_other_data_and_splits(tiny: Tiny, run_tiny: RunTiny) -> None:
    energy = tiny.graphs.energy.copy()
    energy[0] += 1e-9
    dealt = tiny.splits.copy()
    dealt.loc[[0, 2], "split"] = ["validation", "train"]
    found = {
        name: read_json(run_tiny(name, data=data).record)["hashes"]
        for name, data in (
            ("plain", tiny),
            ("data", replace(tiny, graphs=replace(tiny.graphs, energy=energy))),
            ("split", replace(tiny, splits=dealt)),
            ("training", replace(tiny, spec=tiny.spec.model_copy(update={"huber_delta": 2.0}))),
            ("model", replace(tiny, model=tiny.model.model_copy(update={"cutoff": 3.9}))),
        )
    }
    for key in ("data", "split", "training", "model"):
        assert found[key][key] != found["plain"][key]


@given(
    n=st.integers(1, 40),
    size=st.integers(1, 50),
    n_steps=st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_an_epoch_visits_each_structure_at_most_once(
    n: int, size: int, n_steps: int, seed: int
) -> None:
    train = 100 + np.arange(n)
    order = batch_order(train, size, n_steps, seed)
    per_epoch = n // min(n, size)
    assert order.shape == (n_steps, min(n, size))
    for start in range(0, n_steps, per_epoch):
        epoch = order[start : start + per_epoch].ravel()
        assert len(set(epoch)) == len(epoch)
        assert set(epoch) <= set(train)
        if start + per_epoch <= n_steps and n % min(n, size) == 0:
            assert set(epoch) == set(train)


def test_more_steps_begin_with_the_same_batches() -> None:
    train = np.arange(30)
    assert np.array_equal(batch_order(train, 7, 50, 3)[:20], batch_order(train, 7, 20, 3))


def test_the_learning_rate_warms_up_and_falls_to_zero(tiny: Tiny) -> None:
    spec = tiny.spec.model_copy(update={"n_steps": 1000})
    rates = [learning_rate(step, spec) for step in range(1000)]
    peak = int(np.argmax(rates))
    assert peak == 50
    assert rates[peak] == pytest.approx(spec.learning_rate)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert 0 < rates[0] < rates[peak] / 20
    assert rates[-1] < 1e-5 * spec.learning_rate


def test_fewer_structures_than_a_batch_still_train(make_training: Make) -> None:
    training = make_training(batch_size=1000)
    training.run()
    assert training.order().shape == (12, len(training.train))


@pytest.mark.parametrize("loss", ["raw", "standardized"])
def test_training_lowers_the_errors(make_training: Make, loss: str) -> None:
    deterministic()
    history = pd.DataFrame(
        make_training(Run("tiny", "schnet", loss, loss), n_steps=400, learning_rate=0.01)
        .run()
        .history
    )
    for name in ("energy_rmse_ev", "force_rmse_ev_per_angstrom"):
        assert history[name].iloc[-1] < 0.7 * history[name].iloc[0]
    assert history.force_loss.iloc[-1] < 0.5 * history.force_loss.iloc[1]


@pytest.mark.parametrize("loss", ["raw", "sqrt_n", "per_atom", "standardized"])
def test_a_unit_that_is_a_power_of_two_changes_no_bit(
    tiny: Tiny, make_training: Make, loss: str
) -> None:
    deterministic()
    run = Run("tiny", "schnet", loss, "standardized" if loss == "standardized" else "raw")
    here, there = make_training(run), make_training(run, tiny.times(32.0))
    curves = [training.run().history for training in (here, there)]
    for one, other in zip(here.model.parameters(), there.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert curves[1][-1]["energy_rmse_ev"] == pytest.approx(32 * curves[0][-1]["energy_rmse_ev"])


@pytest.mark.parametrize("loss", ["raw", "standardized"])
def test_errors_in_another_unit_are_the_same_errors(
    tiny: Tiny, make_training: Make, loss: str
) -> None:
    deterministic()
    run = Run("tiny", "schnet", loss, loss)
    here, there = (make_training(run, d).run().history[-1] for d in (tiny, tiny.times(KCAL)))
    for name in ("energy_rmse_ev", "force_rmse_ev_per_angstrom"):
        assert there[name] == pytest.approx(KCAL * here[name], rel=1e-3)


@pytest.mark.parametrize("unit", [1.0, KCAL])
def test_the_gradient_signal_is_that_of_a_backward_pass(
    make_training: Make, step_kind: str, unit: float
) -> None:
    run = Run("tiny", "schnet", "sqrt_n", "raw", "huber")
    training = make_training(run, signal_at=(1.0,), n_signal_structures=3, units_per_ev=unit)
    found = training.run().gradient_signal[0]
    model, objective = training.model, training.objective
    sample = signal_sample(training.graphs, training.train, 3)
    for row, index in zip(found.itertuples(), sample, strict=True):
        assert row.structure == training.graphs.structure[index]
        for name in ("energy_gradient", "energy_jacobian", "force_gradient"):
            batch = Batcher(training.graphs)(np.array([index]))
            prediction = model(batch)
            model.zero_grad()
            {
                "energy_gradient": objective.energy_terms(batch, prediction),
                "energy_jacobian": prediction.deviation / unit,
                "force_gradient": objective.force_terms(batch, prediction),
            }[name].sum().backward()
            squares = [float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None]
            assert getattr(row, name) == pytest.approx(sum(squares) ** 0.5, rel=1e-4)
    assert (found.step == training.spec.n_steps).all()


def test_measuring_the_signal_does_not_change_the_training(make_training: Make) -> None:
    deterministic()
    often, seldom = make_training(signal_at=(0.0, 0.3, 0.6, 1.0)), make_training(signal_at=(1.0,))
    for training in (often, seldom):
        training.run()
    assert weights_digest(often.model) == weights_digest(seldom.model)


def test_the_loss_signal_is_the_mean_of_the_terms_since_the_last_table(tiny: Tiny) -> None:
    log = LossSignal(np.zeros((40, 3)))
    log.add(np.array([3, 5]), np.array([1.0, 2.0]), np.array([10.0, 20.0]))
    log.add(np.array([5]), np.array([4.0]), np.array([40.0]))
    table = log.table(7, tiny.graphs).set_index("structure")
    assert list(table.index) == ["s03", "s05"]
    expected = {"step": 7, "n_visits": 2, "energy_term": 3.0, "force_term": 30.0}
    assert table.to_dict("index")["s05"] == expected
    assert log.table(8, tiny.graphs).empty


def test_the_signal_covers_all_sizes(tiny: Tiny) -> None:
    train = np.arange(40)
    sample = signal_sample(tiny.graphs, train, 5)
    sizes = tiny.graphs.n_atoms[sample]
    assert (np.diff(sizes) >= 0).all()
    assert {sizes[0], sizes[-1]} == {2, 9}
    assert sorted(signal_sample(tiny.graphs, train, 99)) == list(range(40))


@pytest.mark.parametrize("atoms_per_batch", [1, 20, 10**6])
def test_predictions_do_not_depend_on_the_batches(
    make_training: Make, atoms_per_batch: int
) -> None:
    training = make_training()
    chosen = np.array([7, 3, 39, 4, 5, 0])
    parts = list(predict(training.model, training.batcher, chosen, atoms_per_batch))
    assert np.array_equal(np.concatenate([batch.index for batch, _ in parts]), chosen)
    alone = [training.model(training.batcher(np.array([i]))).deviation for i in chosen]
    together = torch.cat([prediction.deviation for _, prediction in parts])
    assert torch.allclose(together, torch.cat(alone), rtol=1e-4, atol=1e-6)


def test_predictions_are_total_energies(tiny: Tiny, run_tiny: RunTiny) -> None:
    with np.load(run_tiny("one").predictions) as found:
        energy, local, names = (found[n] for n in ("energy", "local_energy", "structure"))
    held_out = [*tiny.splits.structure[tiny.splits.split == "validation"]]
    held_out += [*tiny.splits.structure[tiny.splits.split == "test"]]
    assert list(names) == held_out
    sizes = tiny.graphs.n_atoms[tiny.graphs.select(held_out)]
    ends = np.cumsum(sizes)
    sums = [local[end - n : end].sum() for n, end in zip(sizes, ends, strict=True)]
    assert np.allclose(sums, energy, atol=1e-5)
    labels = tiny.graphs.energy[tiny.graphs.select(held_out)]
    assert np.sqrt(np.mean((energy - labels) ** 2)) < np.std(labels)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_empty_split_is_named(tiny: Tiny, tmp_path: Path, split: str) -> None:
    other = "test" if split == "train" else "train"
    write_table(tmp_path / "splits.csv", tiny.splits.replace({"split": {split: other}}))
    with pytest.raises(PeslossError, match=rf"splits\.csv: split '{split}' is empty"):
        splits_of(tiny.graphs, tmp_path / "splits.csv")


def test_tables_of_a_run_hold_its_marks(tiny: Tiny, run_tiny: RunTiny) -> None:
    files = run_tiny("one")
    marks = {round(share * tiny.spec.n_steps) for share in tiny.spec.signal_at}
    assert set(read_table(files.gradient_signal).step) == marks
    windows = read_table(files.loss_signal)
    assert set(windows.step) == marks - {0}
    visits = tiny.spec.n_steps * tiny.spec.batch_size
    assert windows.n_visits.sum() == visits
    assert list(read_table(files.history).step) == [0, 4, 8, 12]
