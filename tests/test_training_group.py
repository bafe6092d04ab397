"""Runs trained together are the runs that they are alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import RUN, RunTiny, Tiny, failure, files_in, in_torch

from pesloss.job.files import read_json
from pesloss.spec.run import Run
from pesloss.training import loop
from pesloss.training.job import Member, Outcome, RunFiles, raise_failures, train_group

RUNS = [
    RUN,
    Run("tiny", "schnet", "sqrt_n", "raw", "huber", 30.0),
    Run("tiny", "schnet", "calibrated", "standardized", "mse", 0.3),
    Run("tiny", "schnet", "raw", "raw", "mae", 3.0),
]
TrainGroup = Callable[..., tuple[list[Outcome], list[RunFiles]]]


@pytest.fixture
def train(tiny: Tiny, tmp_path: Path) -> TrainGroup:
    """Train runs together, each in its folder below one of one's choice."""

    def call(name: str, runs: list[Run], **options: object) -> tuple[list[Outcome], list[RunFiles]]:
        files = [files_in(tmp_path / name / run.folder) for run in runs]
        inputs = tiny.write(tmp_path / name)
        members = [Member(run, of) for run, of in zip(runs, files, strict=True)]
        kept = tmp_path / name / "unfinished.pt"
        outcomes = train_group(members, inputs, tiny.model, tiny.spec, kept, **options)  # type: ignore[arg-type]
        assert not kept.exists()
        return outcomes, files

    return call


def same(one: RunFiles, other: RunFiles) -> bool:
    """Whether the files of two runs hold the same bytes, and the records the same digest."""
    pairs = zip(one.trained, other.trained, strict=True)
    records = [read_json(files.record)["digest"] for files in (one, other)]
    return all(a.read_bytes() == b.read_bytes() for a, b in pairs) and records[0] == records[1]


def test_a_member_of_a_group_is_the_run_alone(train: TrainGroup, run_tiny: RunTiny) -> None:
    outcomes, together = train("together", RUNS)
    assert [outcome.state for outcome in outcomes] == ["trained"] * len(RUNS)
    _, fewer = train("fewer", RUNS[2:])
    alone = [run_tiny("alone", run) for run in RUNS]
    for one, other in zip([*together, *together[2:]], [*alone, *fewer], strict=True):
        assert same(one, other)


def test_members_that_are_done_are_left_alone(train: TrainGroup) -> None:
    _, files = train("a", RUNS[:2])
    before = [path.stat().st_mtime_ns for of in files for path in vars(of).values()]
    said: list[str] = []
    outcomes, files = train("a", RUNS[:3], say=said.append)
    assert [outcome.state for outcome in outcomes] == ["done", "done", "trained"]
    assert [path.stat().st_mtime_ns for of in files[:2] for path in vars(of).values()] == before
    assert f"{RUNS[0].folder}: done before, not trained again" in said
    files[1].weights.write_bytes(b"other")
    outcomes, _ = train("a", RUNS[:3])
    assert [outcome.state for outcome in outcomes] == ["done", "trained", "done"]
    left = files[0].record.parents[6] / "unfinished.pt"
    left.touch()  # by a job that was killed after its last record
    outcomes, _ = train("a", RUNS[:3])
    assert [outcome.state for outcome in outcomes] == ["done"] * 3


def test_a_member_that_diverges_fails_alone_and_is_named(
    train: TrainGroup, run_tiny: RunTiny
) -> None:
    wild = replace(RUNS[3], metric="mse", force_weight=1e39)
    outcomes, files = train("group", [RUNS[0], wild, RUNS[1]])
    assert [outcome.state for outcome in outcomes] == ["trained", "failed", "trained"]
    assert outcomes[1].failure.startswith(f"{wild.folder}: training: loss is not finite at step ")
    assert not any(path.exists() for path in vars(files[1]).values())
    assert same(files[0], run_tiny("alone", RUNS[0]))
    assert failure(lambda: raise_failures(outcomes)) == outcomes[1].failure
    raise_failures([outcomes[0], outcomes[2]])


@pytest.mark.parametrize("key", ["dataset", "model", "seed", "changes"])
def test_members_that_share_no_batches_are_refused(train: TrainGroup, key: str) -> None:
    value = {"seed": 1, "changes": (("learning_rate", 0.1),)}.get(key, "other")
    other = replace(RUN, **{key: value})  # type: ignore[arg-type]
    line = failure(lambda: train("group", [RUN, other]))
    assert line.startswith(f"group of runs: {'variant' if key == 'changes' else key} is ")
    assert failure(lambda: train("a", [])) == "group of runs: is empty"
    assert failure(lambda: train("a", [RUN, RUN])) == f"group of runs: {RUN.folder} is there twice"


def test_a_group_that_is_cut_off_goes_on_to_the_same_bytes(train: TrainGroup) -> None:
    _, unbroken = train("unbroken", RUNS)

    def until(stop: int) -> Callable[[range], Iterator[int]]:
        def watch(steps: range) -> Iterator[int]:
            for step in steps:
                if step == stop:
                    raise KeyboardInterrupt
                yield step

        return watch

    for stop in (5, 8):
        with pytest.raises(KeyboardInterrupt):
            train("cut", RUNS, checkpoint_seconds=0.0, watch=until(stop))
    _, resumed = train("cut", RUNS)
    assert all(same(one, other) for one, other in zip(unbroken, resumed, strict=True))


def test_a_checkpoint_of_steps_in_c_is_void_in_torch(
    train: TrainGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(steps: range) -> Iterator[int]:
        yield from steps[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("cut", RUNS[:2], checkpoint_seconds=0.0, watch=stop)
    in_torch(monkeypatch)
    said: list[str] = []
    outcomes, files = train("cut", RUNS[:2], say=said.append)
    assert [outcome.state for outcome in outcomes] == ["trained"] * 2
    assert "not gone on from, the training starts anew" in said[1]
    assert "; step: torch, " in said[0]
    _, whole = train("whole", RUNS[:2])
    assert all(same(one, other) for one, other in zip(files, whole, strict=True))


def test_members_go_on_from_where_another_grouping_left_them(train: TrainGroup) -> None:
    """Two were cut off at the fifth step; the third begins."""

    def stop(steps: range) -> Iterator[int]:
        yield from steps[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("cut", RUNS[:2], checkpoint_seconds=0.0, watch=stop)
    passed: list[int] = []

    def watch(steps: range) -> Iterator[int]:
        passed.append(len(steps))
        yield from steps

    _, files = train("cut", RUNS[1:], watch=watch)
    assert passed == [12, 7]
    _, whole = train("whole", RUNS[1:])
    assert all(same(one, other) for one, other in zip(files, whole, strict=True))


def test_a_record_says_how_many_were_trained_together(train: TrainGroup) -> None:
    _, files = train("group", RUNS[:2])
    for record in (read_json(of.record) for of in files):
        assert 0 < record["seconds"] <= record["group"]["seconds"]
        assert record["group"]["members"] >= 1
        assert record["peak_memory_mib"] > 0


def test_nothing_is_trained_when_a_setting_is_wrong(
    train: TrainGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.Training, "run", pytest.fail)
    wrong = replace(RUN, changes=(("speed", 1.0),))
    assert "vary is 'speed'" in failure(lambda: train("group", [wrong]))
