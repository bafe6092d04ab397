"""Commands leave their inputs alone and write outputs whole or not at all, for any paths."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from planted import planted, renamed, saved

import pesloss.commands
from pesloss.__main__ import main

SOURCE = str(Path(__file__).parents[1] / "src")
WEIGHTS = ["weights", "mace"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A training set, named with an upper-case letter."""
    return saved(tmp_path / "Train.xyz", planted())


@pytest.fixture
def scales(data: Path) -> Path:
    """Its scales."""
    path = data.with_name("scales.json")
    assert main(["scales", str(data), str(path)]) == 0
    return path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that fails says: a single line."""
    said = capsys.readouterr().err
    assert said.startswith("pesloss: ")
    assert said.count("\n") == 1
    assert said.endswith("\n")
    return said


def _itself(path: Path) -> str:
    return str(path)


def _with_a_dot(path: Path) -> str:
    return f"{path.parent}/./{path.name}"


def _roundabout(path: Path) -> str:
    (path.parent / "sub").mkdir()
    return f"{path.parent}/sub/../{path.name}"


def _relative(path: Path) -> str:
    return os.path.relpath(path)


def _symbolic_link(path: Path) -> str:
    link = path.with_name("link.xyz")
    link.symlink_to(path.name)
    return str(link)


def _link_to_a_link(path: Path) -> str:
    link = path.with_name("second.xyz")
    link.symlink_to(_symbolic_link(path))
    return str(link)


def _linked_folder(path: Path) -> str:
    folder = path.parent / "folder"
    folder.symlink_to(path.parent, target_is_directory=True)
    return str(folder / path.name)


def _hard_link(path: Path) -> str:
    link = path.with_name("hard.xyz")
    link.hardlink_to(path)
    return str(link)


WAYS = [
    _itself, _with_a_dot, _roundabout, _relative,
    _symbolic_link, _link_to_a_link, _linked_folder, _hard_link,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("command", [["scales"], WEIGHTS], ids=["scales", "weights"])
def test_an_output_that_is_the_input_is_refused(
    command: list[str], way: Callable[[Path], str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = data.read_bytes()
    output = way(data)
    for one, other in ((str(data), output), (output, str(data))):
        assert main([*command, one, other]) == 1
        said = one_line(capsys)
        assert f"output {Path(other)} is the input {Path(one)}; allowed: another file" in said
    assert data.read_bytes() == before


def test_an_output_that_is_part_of_the_input_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ASE reads `Train.xyz@:30` as the first thirty frames of Train.xyz."""
    before = data.read_bytes()
    assert main(["scales", f"{data}@:30", str(data)]) == 1
    assert f"is the input {data}" in one_line(capsys)
    assert data.read_bytes() == before
    assert main([*WEIGHTS, f"{data}@:30", str(data.with_name("o.xyz"))]) == 0
    assert len(read(data.with_name("o.xyz"), ":")) == 30


def test_an_output_that_is_the_file_of_scales_is_refused(
    data: Path, scales: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = scales.read_bytes()
    capsys.readouterr()
    for output in (scales, Path(_hard_link(scales)), Path(_symbolic_link(scales))):
        assert main([*WEIGHTS, str(data), str(output), "--scales", str(scales)]) == 1
        assert f"output {output} is the input {scales}" in one_line(capsys)
    assert scales.read_bytes() == before


@pytest.mark.parametrize("command", ["scales", "weights", "presets"])
def test_a_folder_is_no_output(
    command: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = {"scales": [str(data)], "weights": ["gap", str(data)], "presets": []}[command]
    assert main([command, *inputs, str(data.parent)]) == 1
    assert str(data.parent) in one_line(capsys)
    assert sorted(path.name for path in data.parent.iterdir()) == ["Train.xyz"]


def test_an_output_beside_the_input_replaces_only_itself(data: Path, tmp_path: Path) -> None:
    before = data.read_bytes()
    output = tmp_path / "out.xyz"
    output.write_text("old\n")
    assert main([*WEIGHTS, str(data), str(output)]) == 0
    assert len(read(output, ":")) == 40
    assert data.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Train.xyz", "out.xyz"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.xyz", None, "no such file"),
        ("empty.xyz", b"", "empty.xyz: "),
        ("blank.xyz", b"\n\n", "blank.xyz: "),
        ("binary.xyz", b"\x00\xff\xfe\x01", "binary.xyz: "),
        ("cut.xyz", b"3\nenergy=1\nH 0 0 0\n", "cut.xyz: "),
        ("zero.xyz", b"0\nenergy=1\n", "zero.xyz: "),
        ("words.xyz", b"two\nenergy=1\nH 0 0 0\n", "words.xyz: "),
        ("energy.xyz", b"1\nenergy=lots\nH 0 0 0\n", "frame 0"),
        ("unknown.foo", b"abc", "unknown.foo: "),
        ("empty.db", b"SQLite format 3\x00", "empty.db: "),
        ("list.json", b"[]", "list.json: "),
    ],
)
def test_data_that_cannot_be_read_take_one_line(
    name: str, content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / name, tmp_path / "out"
    if content is not None:
        path.write_bytes(content)
    for command in (["scales"], WEIGHTS):
        assert main([*command, str(path), str(output)]) == 1
        line = one_line(capsys)
        assert name in line
        assert said in line
    assert not output.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("command", [["scales"], WEIGHTS, ["presets"]], ids=lambda c: c[0])
def test_a_folder_that_cannot_be_written_takes_one_line(
    command: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    inputs = [] if command == ["presets"] else [str(data)]
    assert main([*command, *inputs, str(folder / "out.xyz")]) == 1
    assert "out.xyz: cannot be written" in one_line(capsys)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("command", [["scales"], WEIGHTS, ["presets"]], ids=lambda c: c[0])
def test_a_file_in_place_of_a_folder_takes_one_line(
    command: list[str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [] if command == ["presets"] else [str(data)]
    assert main([*command, *inputs, str(data / "out.xyz")]) == 1
    assert "out.xyz: cannot be written" in one_line(capsys)


@pytest.mark.parametrize("name", ["o.xyz", "o.xyz.gz", "o.extxyz.xz", "o.xyz.bz2"])
def test_a_command_run_again_gives_the_same_bytes(name: str, data: Path, tmp_path: Path) -> None:
    """Compressed too, where gzip would put the time and the name of the scratch file in."""
    output, again = tmp_path / name, tmp_path / "again" / name
    assert main([*WEIGHTS, str(data), str(output)]) == 0
    time.sleep(1.1)  # gzip counts seconds
    assert main([*WEIGHTS, str(data), str(again)]) == 0
    assert again.read_bytes() == output.read_bytes()
    assert len(read(output, ":")) == 40


def test_scales_run_again_give_the_same_bytes(scales: Path, data: Path, tmp_path: Path) -> None:
    assert main(["scales", str(data), str(tmp_path / "again.json")]) == 0
    assert (tmp_path / "again.json").read_bytes() == scales.read_bytes()
    assert json.loads(scales.read_text())["species"] == ["H", "C", "O"]


def test_scales_with_a_wrong_number_are_refused_before_anything_is_written(
    data: Path, scales: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = scales.read_text()
    capsys.readouterr()
    for value in ("NaN", "Infinity", "-0.3", "0", "true", "null", '"0.3"', "1e308", "1e400"):
        content = json.loads(text) | {"local_energy_scale": [0.3, "VALUE", 0.3]}
        scales.write_text(json.dumps(content).replace('"VALUE"', value))
        output = data.with_name("o.xyz")
        assert main([*WEIGHTS, str(data), str(output), "--scales", str(scales)]) == 1
        assert f"{scales}: Scales: local_energy_scale of C is " in one_line(capsys)
        assert not output.exists()


def test_rows_of_an_ase_database_keep_their_labels(tmp_path: Path) -> None:
    """Labels in the `data` of the rows, which ASE's own reader of databases drops."""
    structures = renamed(planted(), "e_dft", "f_dft")
    with ase.db.connect(tmp_path / "train.db") as database:
        for atoms in structures:
            labels = {"e_dft": atoms.info["e_dft"], "f_dft": atoms.arrays["f_dft"]}
            database.write(Atoms(atoms.numbers, atoms.positions), data=labels, source_of="mine")
    keys = ["--energy-key", "e_dft", "--forces-key", "f_dft"]
    from_db, from_xyz = tmp_path / "db.json", tmp_path / "xyz.json"
    assert main(["scales", str(tmp_path / "train.db"), str(from_db), *keys]) == 0
    flat = saved(tmp_path / "train.xyz", structures)
    assert main(["scales", str(flat), str(from_xyz), *keys]) == 0
    found, expected = (json.loads(path.read_text()) for path in (from_db, from_xyz))
    for key in ("mean", "local_energy_scale", "force_scale"):
        assert found[key] == pytest.approx(expected[key], rel=1e-6)
    output = tmp_path / "out.xyz"
    assert main(["weights", "gap", str(tmp_path / "train.db"), str(output), *keys]) == 0
    for atoms, given in zip(read(output, ":"), structures, strict=True):
        assert atoms.info["e_dft"] == given.info["e_dft"]
        assert atoms.info["source_of"] == "mine"
        assert np.allclose(atoms.arrays["f_dft"], given.arrays["f_dft"], atol=1e-7)


def test_a_label_that_is_there_twice_is_written_once_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trajectories and databases may hold a key in a frame and in its calculator."""
    structures = planted()
    for atoms in structures:
        atoms.info["energy"] = atoms.get_potential_energy()
        atoms.arrays["forces"] = atoms.get_forces()
    write(tmp_path / "train.traj", structures)
    data, output = str(tmp_path / "train.traj"), tmp_path / "o.xyz"
    assert main([*WEIGHTS, data, str(output)]) == 0
    written: Any = read(output, 3)
    assert written.get_potential_energy() == structures[3].info["energy"]
    capsys.readouterr()
    structures[3].info["energy"] += 1
    write(tmp_path / "train.traj", structures)
    for command in (["scales"], WEIGHTS):
        assert main([*command, data, str(tmp_path / "none")]) == 1
        assert "frame 3: 'energy' is there twice, with different values" in one_line(capsys)


def test_nobody_is_told_to_delete_what_is_no_file_of_scales(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = data.with_name("o.xyz")
    assert main([*WEIGHTS, str(data), str(output), "--scales", str(data)]) == 1
    said = one_line(capsys)
    assert said.startswith(f"pesloss: {data}: not a JSON file")
    assert "delete it" not in said
    assert "allowed: what `pesloss scales` writes" in said


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}


def test_ctrl_c_ends_with_130_and_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pesloss.commands, "fit_all", interrupted)
    output = tmp_path / "s.json"
    assert main(["scales", str(data), str(output)]) == 130
    one_line(capsys)
    assert not output.exists()


def test_a_process_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C while the command waits for its data, a pipe that nobody writes to."""
    pipe, output = tmp_path / "pipe.xyz", tmp_path / "s.json"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "pesloss", "scales", str(pipe), str(output)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    writer = os.open(pipe, os.O_WRONLY)  # returns when the command has opened it
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    os.close(writer)
    assert process.returncode == 130
    assert said.startswith("pesloss: stopped by Ctrl-C")
    assert said.count("\n") == 1
    assert not output.exists()
