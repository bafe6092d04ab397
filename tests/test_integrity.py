"""Whatever happened to a file of a run, it is refused by name or made again, never used."""

import gzip
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from conftest import RUN, RunTiny, Tiny, evaluate, failure, files_in

from pesloss.claims import measures as statistics
from pesloss.claims.job import read_study
from pesloss.evaluation.correlation import write_error_products, write_pair_shells
from pesloss.evaluation.results import RunResult, read_run
from pesloss.evaluation.tables import run_tables
from pesloss.job import provenance
from pesloss.job.files import (
    read_arrays,
    read_bytes,
    read_json,
    read_table,
    same_structures,
    sha256,
    write_json,
    write_table,
)
from pesloss.report.cost import records_table
from pesloss.spec.manifest import EVALUATED, EVALUATION, RECORD, TRAINED, damaged
from pesloss.spec.run import Run
from pesloss.statistics.fit import fit_statistics
from pesloss.statistics.labels import force_label_table, label_table
from pesloss.training.adam import Adam
from pesloss.training.checkpoint import Checkpoint, Progress, Saved, packed
from pesloss.training.job import RunFiles, train_run
from pesloss.training.loop import Training, deterministic, weights_digest

Make = Callable[..., Training]
ALL = (*TRAINED, *EVALUATED)
ONE, OTHER = (Run("tiny", "schnet", "raw", seed=seed) for seed in (0, 1))


@pytest.fixture(scope="module")
def shelf(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two runs on one dataset, judged."""
    results = tmp_path_factory.mktemp("results")
    labels = results / "statistics" / "tiny"
    write_table(labels / "labels.csv", label_table(tiny.table, tiny.splits, tiny.statistics))
    write_table(labels / "force_labels.csv", force_label_table(tiny.structures, tiny.statistics))
    tiny.statistics.write(labels / "statistics.json")
    for run in (ONE, OTHER):
        judged(tiny, results / "runs" / run.folder, run, labels / "labels.csv")
    return results


def judged(tiny: Tiny, folder: Path, run: Run, labels: Path) -> RunFiles:
    inputs, files = tiny.write(folder), files_in(folder)
    train_run(run, inputs, tiny.model, tiny.spec, files, folder / "unfinished.pt")
    evaluate(files, folder / "graphs.npz", labels)
    return files


@pytest.fixture
def results(shelf: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(shelf, tmp_path / "results")
    return tmp_path / "results"


def folder_of(results: Path, run: Run = ONE) -> Path:
    return results / "runs" / run.folder


def read_all(results: Path) -> None:
    """Read runs as every later stage does."""
    folders = [folder_of(results, run) for run in (ONE, OTHER)]
    labels = [results / "statistics/tiny" / name for name in ("labels.csv", "statistics.json")]
    read_study(labels, [folder / "structures.csv.gz" for folder in folders])
    run_tables([str(folder / "structures.csv.gz") for folder in folders], [str(labels[0])])
    records_table(folder / RECORD for folder in folders)


def manifests(results: Path) -> list[Path]:
    return [folder_of(results, run) / n for run in (ONE, OTHER) for n in (RECORD, EVALUATION)]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def link(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other)


def make_folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "swapped": lambda path, other: (
        path.rename(path.with_name("kept")),
        shutil.copy(other, path),
        path.with_name("kept").rename(other),
    ),
    "copied": lambda path, other: shutil.copy(other, path),
    "linked": link,
    "flipped": lambda path, other: flip(path),
    "cut": lambda path, other: path.write_bytes(path.read_bytes()[:-7]),
    "longer": lambda path, other: path.write_bytes(path.read_bytes() + b"\n"),
    "empty": lambda path, other: path.write_bytes(b""),
    "text": lambda path, other: path.write_text("not what it was\n"),
    "directory": make_folder,
}


def test_runs_that_are_whole_are_read(results: Path) -> None:
    read_all(results)
    assert list(damaged(manifests(results))) == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*ALL, RECORD, EVALUATION])
def test_a_damaged_file_of_a_run_is_found_by_name(results: Path, name: str, damage: str) -> None:
    path, other = (folder_of(results, run) / name for run in (ONE, OTHER))
    if damage == "longer" and name.endswith("json"):
        return  # a blank line at the end of a manifest is nothing
    DAMAGES[damage](path, other)
    found = dict(damaged(manifests(results)))
    wrong = {path, other} if damage == "swapped" else {path}
    made_by = RECORD if name in (*TRAINED, RECORD) else EVALUATION
    expected = {bad.with_name(made_by) for bad in wrong}
    if name == RECORD:  # nobody knows any more what the evaluation was made from
        expected |= {bad.with_name(EVALUATION) for bad in wrong}
    assert set(found) == expected
    for bad in wrong:
        assert found[bad.with_name(made_by)].startswith(f"{bad}: ")
    if name not in ("weights.pt", "predictions.npz"):  # no later stage reads these
        line = failure(lambda: read_all(results))
        assert str(path) in line


@pytest.mark.parametrize("names", [(RECORD,), (RECORD, *TRAINED), (EVALUATION, *EVALUATED)])
def test_a_run_in_anothers_folder_is_refused(results: Path, names: tuple[str, ...]) -> None:
    for name in names:
        shutil.copy(folder_of(results, OTHER) / name, folder_of(results) / name)
    line = failure(lambda: read_all(results))
    path = folder_of(results) / names[0]
    assert line == (
        f"{path}: run is '{OTHER.folder}'; allowed: {ONE.folder}, its folder's; "
        "delete it and run again"
    )
    assert folder_of(results) / names[0] in dict(damaged(manifests(results)))


def test_an_evaluation_of_other_predictions_is_refused(results: Path, tiny: Tiny) -> None:
    folder = folder_of(results)
    longer = replace(tiny, spec=tiny.spec.model_copy(update={"n_steps": 13}))
    old = {name: (folder / name).read_bytes() for name in (EVALUATION, *EVALUATED)}
    judged(longer, folder, ONE, results / "statistics/tiny/labels.csv")
    assert len(read_run(folder).structures) > 0
    for name, content in old.items():
        (folder / name).write_bytes(content)
    line = failure(lambda: read_run(folder).structures)
    assert line == (
        f"{folder / EVALUATION}: was made from another predictions.npz than record.json goes "
        "with; delete it and run again"
    )


@pytest.mark.parametrize("name", [RECORD, EVALUATION])
@pytest.mark.parametrize("key", ["files", "made_from", "digest"])
def test_results_without_digests_are_to_be_made_again(results: Path, name: str, key: str) -> None:
    path = folder_of(results) / name
    content = read_json(path)
    del content[key]
    write_json(path, content)
    line = failure(lambda: read_run(folder_of(results)).structures)
    assert line == f"{path}: lacks key '{key}', made by an earlier version; delete it and run again"


@pytest.mark.parametrize("key", ["hashes", "constants", "training_settings", "seed", "files"])
def test_a_record_that_was_edited_is_refused(results: Path, key: str) -> None:
    path = folder_of(results) / RECORD
    content = read_json(path)
    write_json(path, {**content, key: {"energy": 1.0}})
    assert failure(lambda: read_all(results)).startswith(f"{path}: was changed after it was")


def test_times_and_commits_are_no_part_of_what_a_run_is(results: Path) -> None:
    path = folder_of(results) / RECORD
    content = read_json(path)
    write_json(path, {**content, "seconds": 1e9, "peak_memory_mib": 1.0, "commit": "x"})
    read_all(results)


def test_an_evaluation_refuses_predictions_that_are_not_its_records(
    results: Path, tiny: Tiny
) -> None:
    one, other = (files_in(folder_of(results, run)) for run in (ONE, OTHER))
    shutil.copy(other.predictions, one.predictions)
    labels = results / "statistics/tiny/labels.csv"
    line = failure(lambda: evaluate(one, one.record.with_name("graphs.npz"), labels))
    assert line.startswith(f"{one.predictions}: SHA-256 is ")
    assert line.endswith(", which record.json names; delete it and run again")


# Checkpoints


@pytest.fixture(scope="module")
def stopped(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, bytes]]:
    """The checkpoint of a training that was stopped, and the files of one that was not."""
    folder = tmp_path_factory.mktemp("stopped") / RUN.folder
    inputs, files, path = tiny.write(folder), files_in(folder), folder / "unfinished.pt"

    def train(**options: Any) -> None:
        train_run(RUN, inputs, tiny.model, tiny.spec, files, path, **options)

    def until_stop(steps: range) -> Any:
        for step in steps:
            if step == 7:
                raise KeyboardInterrupt
            yield step

    with pytest.raises(KeyboardInterrupt):
        train(checkpoint_seconds=0.0, watch=until_stop)
    content = path.read_bytes()
    path.unlink()
    train()
    return content, {name: (folder / name).read_bytes() for name in TRAINED}


def resume(
    tiny: Tiny, folder: Path, checkpoint: bytes
) -> tuple[list[int], list[str], dict[str, bytes]]:
    """Go on from a checkpoint; return the steps, what was said, and the files."""
    folder = folder / RUN.folder
    inputs, files, path = tiny.write(folder), files_in(folder), folder / "unfinished.pt"
    path.write_bytes(checkpoint)
    steps: list[int] = []
    said: list[str] = []

    def watch(left: range) -> Any:
        steps.extend(left)
        yield from left

    train_run(RUN, inputs, tiny.model, tiny.spec, files, path, watch=watch, say=said.append)
    assert not path.exists()
    return steps, said, {name: (folder / name).read_bytes() for name in TRAINED}


def test_an_undamaged_checkpoint_is_gone_on_from_to_the_same_bytes(
    tiny: Tiny, tmp_path: Path, stopped: tuple[bytes, dict[str, bytes]]
) -> None:
    steps, said, files = resume(tiny, tmp_path, stopped[0])
    assert steps[0] == 7
    assert len(said) == 1
    assert files == stopped[1]


def checkpoint_damages(content: bytes) -> dict[str, bytes]:
    rng = np.random.default_rng(12)
    found = {
        "text": b"not a checkpoint\n",
        "empty": b"",
        "longer": content + b"x",
        "archive": packed({"key": "x", "model": {}}),
        "zeros": bytes(len(content)),
    }
    for place in [*range(0, 170, 9), *rng.integers(0, len(content), 30)]:
        wrong = bytearray(content)
        wrong[place] ^= 1 << int(rng.integers(8))
        found[f"flipped {place}"] = bytes(wrong)
    for length in rng.integers(0, len(content), 12):
        found[f"cut {length}"] = content[:length]
    return found


def untrained(training: Training) -> Saved:
    """What the state of a training in a checkpoint has to be like."""
    moments = Adam(training.model.parameters()).state_dict()
    return Saved(training.model.state_dict(), moments, Progress())


def test_a_damaged_checkpoint_is_said_and_never_gone_on_from(
    make_training: Make, tmp_path: Path
) -> None:
    deterministic()
    path = tmp_path / "unfinished.pt"
    first = make_training()
    first.run(Checkpoint(path, "key", 0.0), lambda steps: iter(steps[:5]))
    content = path.read_bytes()
    whole = make_training()
    whole.run()
    untouched = weights_digest(make_training().model)
    kept = Checkpoint(path, "key").load({"": untrained(make_training())})
    assert kept[""].progress.step == 5
    for damage, wrong in checkpoint_damages(content).items():
        path.write_bytes(wrong)
        said: list[str] = []
        checkpoint = Checkpoint(path, "key", 1e9, said.append)
        assert checkpoint.load({"": untrained(make_training())}) == {}, damage
        (line,) = said
        assert line.startswith(f"{path}: ")
        assert line.endswith("; not gone on from, the training starts anew")
    assert weights_digest(whole.model) != untouched


@pytest.mark.parametrize("damage", ["flipped", "cut", "text", "another's"])
def test_a_run_with_a_damaged_checkpoint_ends_with_the_bytes_of_an_unbroken_one(
    tiny: Tiny, tmp_path: Path, stopped: tuple[bytes, dict[str, bytes]], damage: str
) -> None:
    content, expected = stopped
    wrong = {
        "flipped": content[:5000] + bytes([content[5000] ^ 4]) + content[5001:],
        "cut": content[: len(content) // 2],
        "text": b"step: 7\n",
        "another's": content[:21] + b"0" * 64 + content[85:],
    }[damage]
    steps, said, files = resume(tiny, tmp_path, wrong)
    assert steps[0] == 0
    assert "unfinished.pt: " in said[1]
    assert said[1].endswith("the training starts anew")
    assert files == expected


@pytest.mark.parametrize(
    "state", ["other shapes", "no progress", "a list", "fewer moments", "more"]
)
def test_a_checkpoint_with_the_right_digest_but_another_state_is_void(
    make_training: Make, tmp_path: Path, state: str
) -> None:
    path, said = tmp_path / "c.pt", list[str]()
    training = make_training()
    made = Checkpoint(path, "key", 0.0, said.append)
    training.run(Checkpoint(path, "key", 0.0), lambda steps: iter(steps[:5]))
    content = torch.load(io.BytesIO(path.read_bytes()[165:]), weights_only=True)[""]
    first = next(iter(content["model"]))
    fewer = {**content["optimizer"], "means": content["optimizer"]["means"][1:]}
    wrong = {
        "other shapes": {**content, "model": {**content["model"], first: torch.ones(2)}},
        "no progress": {**content, "progress": {}},
        "a list": [content],
        "more": {**content, "more": 1},
        "fewer moments": {**content, "optimizer": fewer},
    }[state]
    body = packed({"": wrong})
    path.write_bytes(b"".join((*made._head(body), body)))
    assert made.load({"": untrained(make_training())}) == {}
    assert len(said) == 1


def test_what_is_no_file_in_the_place_of_a_checkpoint_is_named_before_training(
    make_training: Make, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "folder", tmp_path / "pipe"):
        checkpoint = Checkpoint(path, "key")
        line = failure(partial(make_training().run, checkpoint))
        assert line == f"{path}: not a file; remove it, the training is kept there"


# The same run, the same bytes


def test_weights_do_not_hold_a_name_of_a_file(run_tiny: RunTiny) -> None:
    content = run_tiny("one").weights.read_bytes()
    assert b".part-" not in content
    assert b"archive/data.pkl" in content


# Before training


def test_a_record_that_cannot_be_written_stops_the_run_before_it_starts(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(provenance, "source", absent)
    with pytest.raises(FileNotFoundError, match="git"):
        run_tiny("one", watch=pytest.fail)


@pytest.mark.parametrize("scale", [0.0, 1e-13])
@pytest.mark.parametrize("species", ["Al", "Cu", "all"])
def test_forces_that_are_all_zero_are_refused_by_species(
    tiny: Tiny, run_tiny: RunTiny, scale: float, species: str
) -> None:
    number = {"Al": [13], "Cu": [29], "all": [13, 29]}[species]
    zero = np.isin(tiny.graphs.numbers, number)
    forces = np.where(zero[:, None], scale * tiny.graphs.forces, tiny.graphs.forces)
    flat = replace(tiny, graphs=replace(tiny.graphs, forces=forces))
    line = failure(lambda: run_tiny("flat", data=flat, watch=pytest.fail))
    name = "Cu" if species == "Cu" else "Al"
    assert f"graphs.npz: forces on {name} are zero in all of the training split (" in line


def with_labels(atoms: Atoms, energy: float, forces: Any) -> Atoms:
    made: Atoms = atoms.copy()
    made.info = dict(atoms.info)
    made.calc = SinglePointCalculator(made, energy=energy, forces=forces)
    return made


@pytest.mark.parametrize("scale", [0.0, 1e-13])
@pytest.mark.parametrize("species", [("Al",), ("Al", "Cu")])
def test_species_without_forces_have_no_statistics(
    tiny: Tiny, scale: float, species: tuple[str, ...]
) -> None:
    def flat(atoms: Atoms) -> Atoms:
        zero = np.isin(atoms.symbols, species)[:, None]
        forces = np.where(zero, scale, 1.0) * atoms.get_forces()
        return with_labels(atoms, atoms.get_potential_energy(), forces)

    structures = [flat(atoms) for atoms in tiny.structures]
    line = failure(lambda: fit_statistics("tiny", tiny.table, tiny.splits, structures))
    names = ", ".join(species)
    assert line.startswith(f"tiny: split 'train': forces on {names} are all zero: no force scale")
    assert fit_statistics("tiny", tiny.table, tiny.splits).force_scale == ()


@pytest.mark.parametrize("mean", [(0.0, 0.0), (-3.1, -4.7), (-1e5, -4e4)])
def test_energies_without_spread_have_no_statistics(tiny: Tiny, mean: tuple[float, float]) -> None:
    exact = tiny.table[["n_Al", "n_Cu"]].to_numpy(float) @ np.array(mean)
    line = failure(lambda: fit_statistics("tiny", tiny.table.assign(energy=exact), tiny.splits))
    assert line.startswith("tiny: split 'train': all 24 energies are ")
    assert ("are zero" if not any(mean) else "fitted exactly by means of the species") in line
    found = fit_statistics(
        "tiny", tiny.table.assign(energy=exact + 1e-6 * tiny.table.energy), tiny.splits
    )
    assert 0 < min(found.local_energy_scale) < 1e-4


def test_statistics_and_labels_are_of_the_same_structures(tiny: Tiny) -> None:
    for splits in (tiny.splits[1:], tiny.splits.replace({"structure": {"s00": "x"}})):
        for call in (
            lambda: fit_statistics("tiny", tiny.table, splits),  # noqa: B023
            lambda: label_table(tiny.table, splits, tiny.statistics),  # noqa: B023
        ):
            line = failure(call)
            assert line.startswith("tiny: splits: does not hold structure 's00', which")
    line = failure(lambda: fit_statistics("tiny", tiny.table, tiny.splits, tiny.structures[1:]))
    assert line.startswith("tiny: structures.extxyz: does not hold structure 's00', which")


def test_other_datasets_inputs_are_refused(tiny: Tiny, run_tiny: RunTiny) -> None:
    def refused(**changes: Any) -> str:
        return failure(lambda: run_tiny("x", data=replace(tiny, **changes), watch=pytest.fail))

    line = refused(statistics=replace(tiny.statistics, dataset="other"))
    assert "statistics.json: dataset is 'other'; allowed: tiny, whose folder it lies in" in line
    line = refused(statistics=replace(tiny.statistics, n_structures=25))
    assert "statistics.json: n_structures is 25; allowed: 24, those of split 'train' in" in line
    line = refused(splits=tiny.splits[1:])
    assert "splits.csv: does not hold structure 's00', which" in line
    more = pd.concat([tiny.splits, pd.DataFrame({"structure": ["x", "y"], "split": "test"})])
    line = refused(splits=more)
    assert "graphs.npz: does not hold structure 'x' nor 1 others, which" in line
    line = refused(splits=pd.concat([tiny.splits, tiny.splits[3:5]]))
    assert "splits.csv: structure s03 is there twice (2 such rows); make the file again" in line
    line = refused(splits=tiny.splits.replace({"split": {"test": "tests"}}))
    assert "splits.csv: structure s04: split is 'tests'; allowed: train, validation, test" in line
    names = tiny.graphs.structure.copy()
    names[7] = names[6]
    line = refused(graphs=replace(tiny.graphs, structure=names))
    assert "graphs.npz: structure s06 is there twice" in line


# Tables


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_rows_that_are_there_twice_or_have_no_name_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_table(path, pd.DataFrame({"structure": ["a", "b", "b"], "split": "test"}))
    line = failure(lambda: read_table(path, unique=("structure",)))
    assert line == f"{path}: structure b is there twice; make the file again"
    write_table(path, pd.DataFrame({"structure": ["a", None], "split": "test"}))
    line = failure(lambda: read_table(path, unique=("structure",)))
    assert line == f"{path}: row 2 has no structure; make the file again"
    write_table(path, pd.DataFrame({"structure": ["a", "a"], "species": ["Al", "Cu"]}))
    assert len(read_table(path, unique=("structure", "species"))) == 2


def test_names_of_structures_are_text(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", pd.DataFrame({"structure": ["007", "1e3"], "x": [1, 2]}))
    assert list(read_table(tmp_path / "t.csv").structure) == ["007", "1e3"]


def test_files_of_other_structures_are_told_apart() -> None:
    same_structures(["a", "b"], "x", ["b", "a"], "y")
    line = failure(lambda: same_structures(["a"], "x", ["c", "a", "b"], "y"))
    assert line.startswith("x: does not hold structure 'b' nor 1 others, which y holds: ")
    line = failure(lambda: same_structures(["a", "b"], "x", ["a"], "y"))
    assert line.startswith("y: does not hold structure 'b', which x holds: ")


LABELS = ("labels.csv", "force_labels.csv", "statistics.json")


@pytest.mark.parametrize("damage", ["missing", "twice", "foreign", "no name"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_with_missing_or_doubled_rows_are_named(
    results: Path, damage: str, split: str
) -> None:
    path = results / "statistics/tiny/labels.csv"
    table = read_table(path)
    row = int(np.flatnonzero(table.split == split)[1])
    name = table.structure[row]
    changed = {
        "missing": table.drop(index=row),
        "twice": pd.concat([table, table.iloc[[row]]]),
        "foreign": table.replace({"structure": {name: "water"}}),
        "no name": table.assign(structure=table.structure.where(table.structure != name)),
    }[damage]
    write_table(path, changed)
    line = failure(lambda: read_all(results))
    assert "labels" in line
    if damage == "no name":
        assert f"row {row + 1} has no structure" in line
    elif damage == "foreign" and split == "train":
        assert "force_labels.csv: structure is " in line
    elif damage == "missing" and split == "train":
        assert "number of training labels is 23; allowed: 24" in line
    else:
        assert name in line
    files = files_in(folder_of(results))
    graphs = files.record.with_name("graphs.npz")
    if split == "test":
        assert path.name in failure(lambda: evaluate(files, graphs, path))


def test_statistics_of_another_dataset_are_refused(results: Path, tiny: Tiny) -> None:
    path = results / "statistics/tiny/statistics.json"
    replace(tiny.statistics, dataset="other").write(path)
    line = failure(lambda: read_all(results))
    assert f"{path}: dataset is 'other'; allowed: tiny, whose folder it lies in" in line


WRONG: tuple[tuple[str, Any], ...] = (
    ("mean", [None, 1.0]),
    ("mean", [True, 1.0]),
    ("mean", ["1", 1.0]),
    ("mean", 1.0),
    ("std", [-0.1, 0.2]),
    ("std", None),
    ("local_energy_scale", [0.0, 0.2]),
    ("force_scale", [0.0, 0.2]),
    ("force_scale", [-1.0, 0.2]),
    ("force_scale", [None, 0.2]),
    ("std_se", ["x", None]),
    ("species", []),
    ("species", ["Al", "Xx"]),
    ("species", "AlCu"),
    ("species", [["Al"], "Cu"]),
    ("shared", None),
    ("shared", {"kappa": 0.1}),
    ("shared", {"kappa": None, "tau": 0.1, "std": [0.1, 0.1]}),
    ("shared", {"kappa": 0.1, "tau": 0.1, "std": [0.1]}),
    ("n_structures", 0),
    ("n_structures", 24.0),
    ("size_edges", None),
    ("size_edges", [2, "9"]),
)


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_statistics_with_a_wrong_number_are_refused(
    tiny: Tiny, tmp_path: Path, key: str, value: Any
) -> None:
    path = tmp_path / "statistics.json"
    tiny.statistics.write(path)
    write_json(path, {**read_json(path), key: value})
    line = failure(lambda: type(tiny.statistics).read(path))
    assert line.startswith(f"{path}: ")
    assert key in line
    assert line.endswith("; delete it and run again")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_json_that_is_no_number_or_has_a_key_twice_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(f'{{"a": {text}}}')
    assert failure(lambda: read_json(path)) == (
        f"{path}: not a JSON file ({text} is not a finite number); delete it and run again"
    )
    path.write_text('{"a": 1, "b": 2, "a": 3}')
    assert "key 'a' twice" in failure(lambda: read_json(path))
    path.write_text("[" * 100_000)
    assert "not a JSON file" in failure(lambda: read_json(path))


def test_an_archive_that_is_too_large_or_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(3.0))

    def full(*_: Any, **__: Any) -> None:
        raise MemoryError("Unable to allocate 3 TiB")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", full)
        line = failure(lambda: read_arrays(path, ("x",), "a graph file"))
    assert line.startswith(f"{path}: not enough memory (Unable to allocate 3 TiB); ")

    def broken(*_: Any, **__: Any) -> None:
        raise AttributeError("a mistake of this package")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", broken)
        with pytest.raises(AttributeError):
            read_arrays(path, ("x",), "a graph file")
    reads: tuple[Callable[[Path], object], ...] = (read_bytes, sha256, read_json, read_table)
    for read in reads:
        line = failure(partial(read, tmp_path))
        assert line.startswith(f"{tmp_path}: cannot be read (Is a directory)")
    np.save(tmp_path / "b.npy", np.arange(3.0))
    line = failure(lambda: read_arrays(tmp_path / "b.npy", ("x",), "a graph file"))
    assert line.startswith(f"{tmp_path / 'b.npy'}: not a graph file (one array, not an archive)")


def test_products_are_made_of_the_errors_that_the_evaluation_goes_with(
    results: Path, tiny: Tiny, tmp_path: Path
) -> None:
    rng, folder = np.random.default_rng(0), folder_of(results)
    local = [atoms.copy() for atoms in tiny.structures]
    for atoms, old in zip(local, tiny.structures, strict=True):
        atoms.info = dict(old.info)
        atoms.arrays["local_energy"] = rng.normal(size=len(atoms))
    write_table(tmp_path / "splits.csv", tiny.splits)
    write_pair_shells(local, tmp_path / "splits.csv", tmp_path / "shells.npz")
    out = folder / "correlation.csv"
    table = pd.DataFrame(columns=["structure", "local_energy_error"])
    write_table(folder / "atoms.csv.gz", table)

    def made() -> None:
        write_error_products(
            tmp_path / "shells.npz", folder / "atoms.csv.gz", out, out.with_suffix(".json")
        )

    line = failure(made)
    assert line.startswith(f"{folder / 'atoms.csv.gz'}: SHA-256 is ")
    assert not out.exists()
    write_table(tmp_path / "splits.csv", tiny.splits[1:])
    line = failure(
        lambda: write_pair_shells(local, tmp_path / "splits.csv", tmp_path / "shells.npz")
    )
    assert "splits.csv: does not hold structure 's00'" in line


def test_a_packed_table_of_another_packing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"\xff\xfe\n"))
    assert failure(lambda: read_table(path)).startswith(f"{path}: not a table (")


def test_statistics_declare_the_files_of_runs_they_read() -> None:
    files = {
        "atoms": "atoms.csv.gz",
        "loss_signal": "loss_signal.csv.gz",
        "gradient_signal": "gradient_signal.csv",
    }
    source = {p.stem: p.read_text() for p in Path(statistics.__file__).parent.glob("*.py")}

    def read_by(name: str) -> set[str]:
        text = source[name]
        own = {file for attribute, file in files.items() if f"result.{attribute}" in text}
        used = (n for n in source if f"claims.statistics.{n} import" in text)
        return own.union(*map(read_by, used))

    assert any(map(read_by, statistics.names()))
    for name in statistics.names():
        declared = set(getattr(statistics.load(name), "RUN_INPUTS", ()))
        assert read_by(name) <= declared, name
    assert set(files) <= set(vars(RunResult))
