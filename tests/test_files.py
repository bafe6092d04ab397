"""A file is whole or absent, and what is read is what was written."""

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import failure
from hypothesis import given, settings
from hypothesis import strategies as st

from pesloss.job.errors import PeslossError
from pesloss.job.files import (
    is_scratch,
    read_arrays,
    read_json,
    read_table,
    remove_abandoned,
    write_json,
    write_table,
    write_text,
    written_whole,
)
from pesloss.report.cost import cost_table
from pesloss.training.predictions import read_predictions

TABLE = pd.DataFrame({"structure": ["a", "b"], "energy": [0.1, -2e-300]})


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    write_text(tmp_path / "x.csv", "old")

    def fail() -> None:
        with written_whole(tmp_path / "x.csv") as scratch:
            scratch.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "x.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_the_scratch_file_has_the_suffix_of_the_file(tmp_path: Path) -> None:
    with written_whole(tmp_path / "new" / "x.csv.gz") as scratch:
        assert scratch.name.endswith(".csv.gz")
    assert (tmp_path / "new" / "x.csv.gz").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@settings(max_examples=50)
@given(values=st.lists(st.floats(allow_nan=True), min_size=1), packed=st.booleans())
def test_floats_come_back_exactly(folder: Path, values: list[float], packed: bool) -> None:
    path = folder / ("t.csv.gz" if packed else "t.csv")
    write_table(path, pd.DataFrame({"name": "x", "value": values}))
    found = read_table(path).value.to_numpy(float)
    assert np.array_equal(found, np.array(values), equal_nan=True)


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_table(tmp_path / name, TABLE)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_an_element_called_na_is_no_missing_value(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", pd.DataFrame({"species": ["Na", "NA", "None"]}))
    assert list(read_table(tmp_path / "t.csv").species) == ["Na", "NA", "None"]


def one_line(error: pytest.ExceptionInfo[PeslossError], path: Path) -> bool:
    return "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "foreign", "column"])
def test_a_damaged_table_is_named(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    write_table(path, pd.concat([TABLE] * 50))
    whole = path.read_bytes()
    middle = len(whole) // 2
    content = {
        "empty": b"",
        "cut": whole[:-3],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 0xFF]) * 8 + whole[middle + 8 :],
        "foreign": b"\x89PNG\r\n\x1a\n\x00\xff",
        "column": gzip.compress(b"x\n1\n") if name.endswith("gz") else b"x\n1\n",
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[damage])
    with pytest.raises(PeslossError) as error:
        read_table(path, ("structure", "energy"))
    assert one_line(error, path)


@pytest.mark.parametrize(
    "content", [None, b"", b'{"a": 1', b"\xff\xfe", b"[1]", b'"a"', b'{"b": 1}']
)
def test_a_damaged_json_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PeslossError) as error:
        read_json(path, ("a",))
    assert one_line(error, path)


def test_json_keeps_floats_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 0.1 + 0.2})
    assert read_json(tmp_path / "x.json")["a"] == 0.1 + 0.2
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert read_json(tmp_path / "x.json")["a"] == 0.1 + 0.2


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign", "array"])
def test_a_damaged_predictions_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, energy=np.arange(50.0))
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "foreign":
        path.write_text("energy")
    names = ("energy", "forces") if damage == "array" else ("energy",)
    with pytest.raises(PeslossError) as error:
        read_predictions(path, names)
    assert one_line(error, path)


def test_arrays_are_read_whole_or_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(3.0), y=np.ones(2))
    found = read_arrays(path, ("x",), "a file of mine")
    assert list(found) == ["x"]
    assert (found["x"] == np.arange(3.0)).all()
    for damage in (lambda: None, lambda: path.write_bytes(path.read_bytes()[:40])):
        damage()
        line = failure(lambda: read_arrays(path, ("x", "z"), "a file of mine"))
        assert line.startswith(f"{path}: not a file of mine (")
    path.unlink()
    assert failure(lambda: read_arrays(path, ("x",), "a file of mine")) == f"{path}: no such file"


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from pesloss.job.files import write_text
for number in range(10**9):
    write_text(sys.argv[1], f"{number % 10}" * 300_000 + "\\n")
    if number == 0:
        Path(sys.argv[2]).touch()
"""


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path, nightly: bool) -> None:
    """What it leaves aside is removed by the next writer, and by nobody while it lives."""
    rng = np.random.default_rng(3)
    path, started = tmp_path / "folder" / "x.txt", tmp_path / "started"
    left = 0
    for _ in range(20 if nightly else 3):
        started.unlink(missing_ok=True)
        command = [sys.executable, "-c", WRITE_FOR_EVER, str(path), str(started)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        writer = subprocess.Popen(command, env=environment)
        while not started.exists():
            assert writer.poll() is None
            time.sleep(0.01)
        for _ in range(10):
            write_text(path.with_name("y.txt"), "y")  # also looks for what was left
        time.sleep(rng.uniform(0, 0.1))
        assert writer.poll() is None
        writer.kill()
        writer.wait()
        text = path.read_text()
        assert len(text) == 300_001
        assert set(text) == {text[0], "\n"}
        left += sum(is_scratch(file) for file in path.parent.iterdir())
        write_text(path.with_name("y.txt"), "y")
        assert {file.name for file in path.parent.iterdir()} == {"x.txt", "y.txt"}
    assert left > 0 or not nightly


def test_only_what_nobody_writes_any_more_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".part-abcdefgh.csv").write_text("of a killed process")
    (tmp_path / ".part-ABC.csv").write_text("somebody else's")
    (tmp_path / ".part-folder__").mkdir()
    (tmp_path / ".part-aaaaaaaa").symlink_to("nowhere")
    with written_whole(tmp_path / "x.csv") as scratch:
        scratch.write_text("x")
        assert remove_abandoned(tmp_path) == []
        assert scratch.read_text() == "x"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"x.csv", ".part-ABC.csv", ".part-folder__", ".part-aaaaaaaa"}
    assert remove_abandoned(tmp_path / "missing") == []
    assert remove_abandoned(tmp_path / "x.csv") == []


def test_an_unfinished_file_is_never_a_result(tmp_path: Path) -> None:
    cost = {"rule": "train", "seconds": 1.0, "peak_memory_mib": 2.0}
    write_json(tmp_path / "logs" / "a.cost.json", cost)
    (tmp_path / "logs" / ".part-abcdefgh.cost.json").write_text('{"rule": "tra')
    assert cost_table(tmp_path / "logs").n_jobs.sum() == 1
