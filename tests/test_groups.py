"""Runs in groups: which go together, what a job leaves behind, and what of it is made again."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import RUN, RunTiny, Tiny, evaluate, failure
from hypothesis import given
from hypothesis import strategies as st

from pesloss.evaluation.group import files_of, make_group
from pesloss.job.files import read_json, write_table
from pesloss.plan.groups import MOST_RUNS, MOST_SECONDS, Group, grouped, to_make_again
from pesloss.spec.manifest import EVALUATED, EVALUATION, RECORD, TRAINED
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.statistics.labels import label_table

MODELS = {"schnet": ModelSpec(representation="schnet"), "painn": ModelSpec(representation="painn")}
RUNS = (RUN, replace(RUN, energy_loss="sqrt_n"), replace(RUN, metric="huber", force_weight=30.0))
FILES = (RECORD, *TRAINED, EVALUATION, *EVALUATED)

some_runs = st.builds(
    Run,
    dataset=st.sampled_from(["a", "b"]),
    model=st.sampled_from(sorted(MODELS)),
    energy_loss=st.sampled_from(["raw", "sqrt_n", "per_atom"]),
    force_weight=st.integers(1, 30).map(float),
    seed=st.integers(0, 2),
    changes=st.sampled_from([(), (("learning_rate", 0.1),), (("n_steps", 5000.0),)]),
)


@given(st.sets(some_runs, max_size=60), st.integers(1, 10**5))
def test_groups_hold_every_run_once_share_batches_and_are_bounded(
    runs: set[Run], n_steps: int
) -> None:
    groups = grouped(runs, MODELS, TrainingSpec(n_steps=n_steps))
    assert sorted(run for group in groups for run in group.runs) == sorted(runs)
    assert len({group.folder for group in groups}) == len(groups)
    for group in groups:
        shared = {(run.dataset, run.model, run.changes, run.seed) for run in group.runs}
        assert len(shared) == 1
        assert 1 <= len(group.runs) <= MOST_RUNS
    assert groups == grouped(sorted(runs, reverse=True), MODELS, TrainingSpec(n_steps=n_steps))


def test_groups_are_as_few_as_number_and_time_allow() -> None:
    runs = [replace(RUN, model="schnet", force_weight=float(1 + k)) for k in range(30)]
    sizes = [len(group.runs) for group in grouped(runs, MODELS, TrainingSpec(n_steps=500))]
    assert sizes == [15, 15]
    # 2.5 ms a structure: 500 s a run, and 5.4 s to start, so that seven fit into an hour.
    assert (MOST_SECONDS - 5.4) // 500 == 7
    long = grouped(runs, MODELS, TrainingSpec(n_steps=20_000, batch_size=10))
    assert [len(group.runs) for group in long] == [6] * 5
    endless = grouped(runs, MODELS, TrainingSpec(n_steps=10**7))
    assert {len(group.runs) for group in endless} == {1}


Make = Callable[..., Group]


@pytest.fixture
def make(tiny: Tiny, tmp_path: Path) -> Make:
    """Make a group of the tiny dataset below a folder of one's choice."""

    def call(name: str, *runs: Run, say: Callable[[str], None] = lambda line: None) -> Group:
        folder, group = tmp_path / name, Group(runs)
        inputs = tiny.write(tmp_path)
        write_table(tmp_path / "labels.csv", label_table(tiny.table, tiny.splits, tiny.statistics))
        receipt = folder / group.receipt
        labels = tmp_path / "labels.csv"
        make_group(runs, folder / "runs", inputs, labels, tiny.model, tiny.spec, receipt, say)
        assert not receipt.with_name("unfinished.pt").exists()
        return group

    return call


def contents(folder: Path, run: Run) -> dict[str, object]:
    """All files of a run: of manifests the digest, as they also say how long it took."""
    files = {name: folder / "runs" / run.folder / name for name in FILES}
    return {
        name: read_json(path)["digest"] if path.suffix == ".json" else path.read_bytes()
        for name, path in files.items()
    }


def test_a_run_of_a_group_is_the_run_alone_evaluation_and_all(
    make: Make, run_tiny: RunTiny, tmp_path: Path
) -> None:
    make("together", *RUNS)
    for run in RUNS:
        make("alone", run)
        files = run_tiny("single/runs", run)
        evaluate(files, tmp_path / "graphs.npz", tmp_path / "labels.csv")
        together = contents(tmp_path / "together", run)
        assert together == contents(tmp_path / "alone", run)
        assert together == contents(tmp_path / "single", run)


def test_a_group_that_grows_trains_the_new_runs_alone(make: Make, tmp_path: Path) -> None:
    make("a", *RUNS[:2])
    receipt = (tmp_path / "a" / Group(RUNS[:2]).receipt).read_bytes()
    trained = [tmp_path / "a/runs" / run.folder / name for run in RUNS[:2] for name in TRAINED]
    before = [path.stat().st_mtime_ns for path in trained]
    said: list[str] = []
    make("a", *RUNS, say=said.append)
    assert [path.stat().st_mtime_ns for path in trained] == before
    assert sum("done before, not trained again" in line for line in said) == 2
    make("a", *RUNS[:2])  # fewer again: an ablation that was taken out
    assert (tmp_path / "a" / Group(RUNS[:2]).receipt).read_bytes() == receipt


def test_a_run_that_diverges_leaves_the_others_whole_and_no_receipt(
    make: Make, tmp_path: Path
) -> None:
    wild = replace(RUN, force_weight=1e39)
    said: list[str] = []
    line = failure(lambda: make("a", RUNS[0], wild, RUNS[1], say=said.append))
    assert line.startswith(f"{wild.folder}: training: loss is not finite at step ")
    assert f"failed: {line}" in said
    assert not (tmp_path / "a" / Group(RUNS).receipt).exists()
    assert not (tmp_path / "a/runs" / wild.folder).exists()
    make("b", *RUNS[:2])
    for run in RUNS[:2]:
        assert contents(tmp_path / "a", run) == contents(tmp_path / "b", run)


def test_a_loss_with_a_mistake_fails_alone_in_whatever_way(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(self: object, composition: object) -> None:
        raise TypeError("no such thing")

    monkeypatch.setattr("pesloss.losses.energy.sqrt_n.Loss.scale", mistaken)
    said: list[str] = []
    line = failure(lambda: make("a", *RUNS, say=said.append))
    assert line == f"{RUNS[1].folder}: TypeError: no such thing"
    assert any("Traceback" in text for text in said)
    make("b", RUNS[0], RUNS[2])
    for run in (RUNS[0], RUNS[2]):
        assert contents(tmp_path / "a", run) == contents(tmp_path / "b", run)
    with pytest.raises(TypeError):  # the fault of all is raised as it came
        make("c", RUNS[1])


def again(folder: Path, group: Group) -> dict[str, str]:
    """What has to be made again, as seen from the folder."""
    manifests = [f"runs/{run.folder}/{name}" for run in group.runs for name in (RECORD, EVALUATION)]
    found = to_make_again(folder, [group], manifests)
    return {str(Path(path).relative_to(folder)): why for path, why in found.items()}


def test_what_is_damaged_or_gone_is_named_and_its_group_made_again(
    make: Make, tmp_path: Path
) -> None:
    group = make("whole", *RUNS)
    assert again(tmp_path / "whole", group) == {}
    one = Path("runs") / RUNS[0].folder

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-9])

    for number, name in enumerate(FILES):
        for what, act in (("gone", Path.unlink), ("cut", cut)):
            folder = tmp_path / f"{what}-{number}"
            shutil.copytree(tmp_path / "whole", folder)
            act(folder / one / name)
            found = again(folder, group)
            assert group.receipt in found, (what, name)
            assert all(why.startswith(f"{folder / 'runs' / RUNS[0].folder}/") for why in
                       found.values()), found  # fmt: skip
            assert any(name in why for why in found.values()), found
            make(folder.name, *RUNS)
            assert again(folder, group) == {}
            for run in RUNS:
                assert contents(folder, run) == contents(tmp_path / "whole", run)


def test_a_receipt_that_is_damaged_or_of_other_results_is_written_again(
    make: Make, tmp_path: Path
) -> None:
    folder, group = tmp_path / "a", make("a", *RUNS[:2])
    receipt = folder / group.receipt
    whole = receipt.read_bytes()
    for content in (b"", whole[:-9], b"{}", b'{"runs": []}', b'{"runs": {"x": 1}}'):
        receipt.write_bytes(content)
        assert list(again(folder, group)) == [group.receipt], content
    receipt.write_bytes(whole.replace(b'": "', b'": "0'))
    assert group.receipt in again(folder, group)
    receipt.unlink()
    assert again(folder, group) == {}  # Snakemake makes what is not there
    make("a", *RUNS[:2])
    assert receipt.read_bytes() == whole


def test_files_of_a_training_are_those_that_its_record_goes_with(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    assert files.record.name == RECORD
    assert {path.name for path in files.trained} == set(TRAINED)
