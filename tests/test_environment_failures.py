"""What the machine refuses is said in one line, and nothing half-written is left."""

import errno
import gzip
import hashlib
import io
import os
import pwd
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import RUN, Tiny, failure, files_in

from pesloss.__main__ import main
from pesloss.data import families
from pesloss.data.archives import members
from pesloss.data.families import Family
from pesloss.data.fetch import SourceFile, Sources
from pesloss.data.label_units import Labels
from pesloss.data.labels import frame_of
from pesloss.job import files, provenance
from pesloss.job.errors import PeslossError
from pesloss.job.files import (
    read_arrays,
    read_json,
    read_table,
    write_bytes,
    write_json,
    write_table,
)
from pesloss.job.provenance import Source, source
from pesloss.job.script import Job, job
from pesloss.job.surroundings import Terminated, cache_folder, ending, refusal, terminable
from pesloss.model import pair_kernels
from pesloss.report.reference import keep_reference

NOBODY = 65534
is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root may mount and change owners")
SPACE = "No space left on device"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount small disks in memory."""
    places: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk-{len(places)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    """Lower a limit of this process."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Permissions count for root, too."""
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def child(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# --- files


def writers(tiny: Tiny) -> dict[str, Callable[[Path], object]]:
    """Everything that writes a file, each more than 64 KiB."""
    text = "x" * 100_000
    noise = np.random.default_rng(0).random(20_000)
    table = pd.DataFrame({"noise": noise})

    def arrays(path: Path) -> None:
        with files.written_whole(path) as scratch, scratch.open("wb") as handle:
            np.savez(handle, noise=noise)

    return {
        "text.md": lambda path: files.write_text(path, text),
        "bytes.pt": lambda path: write_bytes(path, text.encode()),
        "object.json": lambda path: write_json(path, [text]),
        "table.csv": lambda path: write_table(path, table),
        "table.csv.gz": lambda path: write_table(path, table),
        "arrays.npz": arrays,
        "graphs.npz": tiny.graphs.write,
    }


WRITERS = ["text.md", "bytes.pt", "object.json", "table.csv", "table.csv.gz", "arrays.npz"]


def assert_refused(write: Callable[[], object], path: Path, reason: str, advice: str) -> None:
    """One line with file, reason and advice; what was there is there."""
    before = sorted(path.parent.rglob("*"))
    assert failure(write) == f"{path}: cannot be written ({reason}); {advice}"
    assert sorted(path.parent.rglob("*")) == before


@needs_root
@pytest.mark.parametrize("name", [*WRITERS, "graphs.npz"])
def test_a_full_disk_is_named(tiny: Tiny, mounted: Callable[[str], Path], name: str) -> None:
    folder = mounted("size=32k" if name != "graphs.npz" else "size=8k")
    advice = "free space on that disk or name another one"
    assert_refused(lambda: writers(tiny)[name](folder / name), folder / name, SPACE, advice)


@needs_root
def test_a_read_only_disk_is_named(mounted: Callable[[str], Path]) -> None:
    path = mounted("size=64k,ro") / "new" / "x.csv"
    reason = f"Read-only file system: {path.parent}"
    advice = "name a place that is not read-only"
    assert failure(lambda: write_json(path, 1)) == f"{path}: cannot be written ({reason}); {advice}"


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_of_file_sizes_is_named(tiny: Tiny, tmp_path: Path, name: str) -> None:
    write, path = writers(tiny)[name], tmp_path / name

    def limited_write() -> None:
        with limited(resource.RLIMIT_FSIZE, 20_000):
            write(path)

    assert_refused(
        limited_write, path, "File too large", "raise the limit of file sizes (ulimit -f)"
    )


def test_too_many_open_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    held: list[int] = []
    with limited(resource.RLIMIT_NOFILE, 200):
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        try:
            written, read = failure(lambda: write_json(path, 2)), failure(lambda: read_json(path))
        finally:
            for handle in held:
                os.close(handle)
    advice = "(Too many open files); raise the limit of open files (ulimit -n)"
    assert written == f"{path}: cannot be written {advice}"
    assert read == f"{path}: cannot be read {advice}"
    assert read_json(path) == {"a": 1}


def test_permissions_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    write_json(folder / "x.json", {"a": 1})
    (folder / "x.json").chmod(0)
    folder.chmod(0o555)
    for parent in (tmp_path, tmp_path.parent):
        parent.chmod(0o755)
    with unprivileged():
        written = failure(lambda: write_json(folder / "x.json", {"a": 2}))
        read = [
            failure(lambda reader=reader: reader(folder / "x.json"))  # type: ignore[misc]
            for reader in (read_json, read_table, lambda path: read_arrays(path, (), "x"))
        ]
    folder.chmod(0o755)
    advice = "(Permission denied); ask for permission or name another place"
    assert written == f"{folder / 'x.json'}: cannot be written {advice}"
    assert read == [f"{folder / 'x.json'}: cannot be read {advice}"] * 3
    (folder / "x.json").chmod(0o644)
    assert read_json(folder / "x.json") == {"a": 1}


@pytest.mark.parametrize(
    ("place", "reason", "advice"),
    [
        ("folder", "Is a directory", "name a file, not a folder"),
        ("file/x.csv", "File exists: {0}/file", "a part of the path is no folder"),
        ("file/new/x.csv", "Not a directory: {0}/file/new", "a part of the path is no folder"),
        ("long" * 80, "File name too long", "name a shorter path"),
        ("loop/x.csv", "File exists: {0}/loop", "a part of the path is no folder"),
        ("device", None, "is a device or a pipe; allowed: the name of a file"),
        ("pipe", None, "is a device or a pipe; allowed: the name of a file"),
    ],
)
def test_what_is_no_place_for_a_file_is_named(
    tmp_path: Path, place: str, reason: str | None, advice: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "device").symlink_to("/dev/full")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    text = failure(lambda: write_json(tmp_path / place, 1))
    assert text.startswith(f"{tmp_path / place}: ")
    assert advice in text
    if reason:
        assert f"cannot be written ({reason.format(tmp_path)}" in text
    assert sorted(tmp_path.rglob("*")) == before
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x.json").symlink_to("elsewhere/y.json")
    write_json(tmp_path / "x.json", {"a": 1})
    assert (tmp_path / "x.json").is_symlink()
    assert read_json(tmp_path / "elsewhere/y.json") == {"a": 1}


def test_a_quota_that_is_noticed_late_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network disks may say only on synchronising that a quota is used up."""
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def used_up(handle: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", used_up)
    advice = "free some of your quota or name another disk"
    assert_refused(lambda: write_json(path, 2), path, "Disk quota exceeded", advice)
    assert read_json(path) == {"a": 1}


def test_disks_that_cannot_synchronise_are_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(handle: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", unknown)
    write_json(tmp_path / "x.json", {"a": 1})
    assert read_json(tmp_path / "x.json") == {"a": 1}


@pytest.mark.parametrize("reader", [read_json, read_table, lambda p: read_arrays(p, (), "x")])
def test_a_folder_is_no_file(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    advice = "(Is a directory); name a file, not a folder"
    assert failure(lambda: reader(tmp_path)) == f"{tmp_path}: cannot be read {advice}"


# --- memory


def test_a_file_for_which_there_is_no_memory_is_not_called_damaged(tmp_path: Path) -> None:
    zeros = b"1\n" * 50_000_000
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"x\n" + zeros, 1))
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(25_000_000))
    (tmp_path / "o.json").write_bytes(b'{"a": "' + zeros.replace(b"\n", b"1") + b'"}')
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr("x", zeros)
    done = child(
        f"""
        import os, resource
        os.chdir({str(tmp_path)!r})
        from pesloss.data.archives import members
        from pesloss.job.files import read_arrays, read_json, read_table
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 30 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for read in (
            lambda: read_table("t.csv.gz"), lambda: read_arrays("a.npz", ("x",), "a graph file"),
            lambda: read_json("o.json"), lambda: list(members("z.zip")),
        ):
            try:
                read()
            except ValueError as error:
                print(type(error).__name__, error)
        """
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    for line, name in zip(lines, ("t.csv.gz", "a.npz", "o.json", "z.zip"), strict=True):
        assert line.startswith(f"PeslossError {name}")
        assert "not enough memory" in line
        assert "delete it" not in line


def too_much_for_torch() -> None:
    torch.empty(2**50)


def too_much_for_numpy() -> None:
    np.empty(2**60, dtype=np.int8)


@pytest.mark.parametrize("call", [too_much_for_torch, too_much_for_numpy])
def test_no_memory_in_a_job_is_one_line(tmp_path: Path, call: Callable[[], None]) -> None:
    status, log, _ = run_job(tmp_path, lambda running: call())
    assert status == 1
    assert len(log) == 1
    assert log[0].startswith("failed: train raw 3.0: not enough memory (")
    assert log[0].endswith("; ask for more or run fewer jobs at once")


def no_memory(*_: object) -> Any:
    raise MemoryError


def no_space(*_: object) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("fault", "said"), [(no_memory, "not enough memory"), (no_space, SPACE)])
def test_structures_are_not_left_out_for_want_of_memory_or_space(
    fault: Callable[[], Any], said: str, tiny: Tiny
) -> None:
    """Else a busy machine would make another dataset."""
    labels = Labels(energy="e", energy_unit="eV", length_unit="Angstrom")
    text = failure(lambda: frame_of("x.json", "#3", fault, labels))
    assert text.startswith("x.json#3: ")
    assert said in text
    calculator: Any = SimpleNamespace(get_potential_energy=fault, calculate=fault)
    family = Family("f", "crystal", 1, 1.0)
    atoms = tiny.structures[0]
    text = failure(lambda: families.computed(atoms, calculator, family, 3))
    assert said in text


@pytest.mark.parametrize(
    ("error", "is_refusal"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 12"), True),
        (pd.errors.ParserError("Error tokenizing data. C error: out of memory"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (PeslossError("x.csv: out of memory is no column"), False),
        (gzip.BadGzipFile("Not a gzipped file"), False),
        (KeyError("out of memory"), False),
        (ValueError("could not convert string"), False),
    ],
)
def test_what_is_a_refusal_of_the_machine(error: Exception, is_refusal: bool) -> None:
    assert (refusal(error, "here") is not None) == is_refusal


# --- jobs and commands


class Wildcards(dict[str, str]):
    """Iterates over values, as Snakemake's do."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.values())


def run_job(
    folder: Path, body: Callable[[Job], object], log: Path | None = None
) -> tuple[object, list[str], list[Path]]:
    """Exit status, log and cost files of a job."""
    path = log or folder / "logs" / "train.log"
    wildcards = Wildcards(loss="raw", weight="3.0")
    given = SimpleNamespace(log=[str(path)], rule="train", wildcards=wildcards)
    before = signal.getsignal(signal.SIGTERM)
    status: object = 0
    try:
        with job(given) as running:
            body(running)
    except SystemExit as end:
        status = end.code
    assert signal.getsignal(signal.SIGTERM) is before
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return status, lines, sorted(path.parent.glob("*.cost.json"))


def test_a_job_that_ends_well_leaves_its_cost(tmp_path: Path) -> None:
    status, log, cost = run_job(tmp_path, lambda running: running.say("hello"))
    assert (status, log) == (0, ["hello"])
    assert read_json(cost[0])["rule"] == "train"


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")],
)
def test_a_job_that_is_stopped_says_so(
    tmp_path: Path, number: int, status: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(running: Job) -> None:
        running.say("step 1")
        with files.written_whole(tmp_path / "x.json") as scratch:
            scratch.write_text("half")
            os.kill(os.getpid(), number)

    line = f"stopped by {name}; nothing half-written is kept"
    assert run_job(tmp_path, body) == (status, ["step 1", f"failed: {line}"], [])
    assert capsys.readouterr().err == f"train raw 3.0: {line}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_a_mistake_of_the_programs_leaves_its_traceback(tmp_path: Path) -> None:
    def body(running: Job) -> None:
        raise ZeroDivisionError

    status, _, _ = run_job(tmp_path, body)
    assert status == 1
    log = (tmp_path / "logs/train.log").read_text(encoding="utf-8")
    assert log.startswith("Traceback")
    assert log.endswith("failed: ZeroDivisionError\n")


@needs_root
@pytest.mark.parametrize("what", ["log", "cost", "result"])
def test_a_full_disk_ends_a_job_with_one_line(
    tmp_path: Path, mounted: Callable[[str], Path], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = mounted("size=16k")

    def body(running: Job) -> None:
        if what == "cost":
            disk.joinpath("filler").write_bytes(bytes(12288))
        if what == "result":
            write_json(disk / "result.json", "x" * 20_000)
        running.say("x" * (20_000 if what == "log" else 2))

    status, _, cost = run_job(tmp_path, body, disk / "train.log")
    assert (status, cost) == (1, [])
    name = {"log": "train.log", "cost": "train.cost.json", "result": "result.json"}[what]
    advice = "free space on that disk or name another one"
    assert capsys.readouterr().err == (
        f"train raw 3.0: {disk / name}: cannot be written ({SPACE}); {advice}\n"
    )
    assert not [path for path in disk.iterdir() if files.is_scratch(path)]


def test_a_log_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").touch()
    log = tmp_path / "logs" / "train.log"
    assert run_job(tmp_path, lambda running: None, log)[0] == 1
    assert capsys.readouterr().err.startswith(f"train raw 3.0: {log}: cannot be written (")


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")],
)
def test_a_command_that_is_stopped_says_so(
    tmp_path: Path,
    number: int,
    status: int,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: os.kill(os.getpid(), number))
    assert main(["presets", str(tmp_path / "presets.md")]) == status
    said = capsys.readouterr().err
    assert said == f"pesloss: stopped by {name}; nothing half-written is kept\n"
    assert not list(tmp_path.iterdir())


def test_commands_name_what_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["presets", str(tmp_path)]) == 1
    said = f"{tmp_path}: cannot be written (Is a directory); name a file, not a folder"
    assert capsys.readouterr().err == f"pesloss: {said}\n"


def test_errors_of_the_programs_own_have_no_ending() -> None:
    assert ending(ZeroDivisionError()) is None
    assert ending(SystemExit(2)) is None
    end = ending(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert end is not None
    assert (end.status, end.line) == (141, "")


@pytest.mark.parametrize(
    ("output", "status", "said"),
    [("full", 1, f"x: standard output: cannot be used ({SPACE}); free"), ("closed", 141, "")],
)
def test_output_that_nobody_takes_ends_a_command(output: str, status: int, said: str) -> None:
    code = "import sys; from pesloss.job.surroundings import run; "
    code += "sys.exit(run('x', lambda: sys.stdout.write('y' * 100_000)))"
    ends = os.pipe()
    os.close(ends[0])
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full if output == "full" else ends[1],
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
            check=False,
        )
    os.close(ends[1])
    assert done.returncode == status
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == bool(said)


def test_sigterm_outside_a_job_is_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


# --- git


def git(folder: Path, *words: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *names, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("no git here")
    folder = tmp_path / "checkout" / "src"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("1\n")
    git(folder.parent, "init", "--quiet")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "--message", "a")
    return folder


def fake_git(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, mode: int = 0o755) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(mode)
    monkeypatch.setenv("PATH", str(folder))


def test_the_commit_of_a_checkout(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert source(checkout) == Source(head)
    (checkout / "b.py").write_text("not added\n")
    assert source(checkout) == Source(head)
    (checkout / "a.py").write_text("2\n")
    assert source(checkout) == Source(f"{head}+changes")


def test_a_repository_that_does_not_hold_the_package_is_not_its_source(checkout: Path) -> None:
    installed = checkout / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "a.py").touch()
    found = source(installed)
    assert found.commit == "unknown"
    assert "did not match" in str(found.unknown_since)


@pytest.mark.parametrize(
    ("script", "mode", "reason"),
    [
        (None, 0, "git: no such command"),
        ("exit 0", 0o644, "Permission denied"),
        ("echo fatal: detected dubious ownership >&2; exit 128", 0o755, "git: fatal: detected dub"),
        ("exit 3", 0o755, "git: status 3"),
        ("exec sleep 9", 0o755, "git: no answer for 0.2 s"),
        ('[ "$2" != status ] || exit 1; echo 1', 0o755, "git: status 1"),
    ],
)
def test_without_an_answer_of_git_the_commit_is_unknown(
    script: str | None, mode: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PATH"]
    monkeypatch.setattr(provenance, "GIT_SECONDS", 0.2 if script == "exec sleep 9" else 30)
    fake_git(tmp_path / "bin", monkeypatch, script or "", mode)
    if script is None:
        (tmp_path / "bin" / "git").unlink()
    if script == "exec sleep 9":
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{path}")
    found = source()
    assert found.commit == provenance.commit() == "unknown"
    assert reason in str(found.unknown_since)
    assert "\n" not in str(found.unknown_since)
    assert found.columns() == {"commit": "unknown", "commit_unknown_since": found.unknown_since}


@needs_root
def test_a_checkout_of_another_user_is_unknown(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(variable, os.devnull)
    monkeypatch.delenv("SUDO_UID", raising=False)
    os.chown(checkout.parent, NOBODY, NOBODY)
    os.chown(checkout.parent / ".git", NOBODY, NOBODY)
    found = source(checkout)
    assert found.commit == "unknown"
    assert "dubious ownership" in str(found.unknown_since)


def test_a_training_without_git_keeps_its_record(
    run_tiny: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    run_tiny("without")
    record = read_json(files_in(tmp_path / "without" / RUN.folder).record)
    assert record["commit"] == "unknown"
    assert record["commit_unknown_since"] == "git: no such command"


def test_a_reference_takes_no_run_of_an_unknown_commit(tmp_path: Path) -> None:
    results = tmp_path / "results"
    from pesloss.report.reference import TABLES

    for name in TABLES:
        files.write_text(results / "tables" / name, "")
    write_json(results / "runs" / "a" / "record.json", {"commit": "unknown"})
    text = failure(lambda: keep_reference(results, tmp_path / "reference"))
    assert text == f"{results}: commit is 'unknown'; allowed: runs of a clean checkout"


def test_a_reference_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, reference = tmp_path / "results", tmp_path / "reference"
    from pesloss.report.reference import TABLES

    for name in TABLES:
        files.write_text(results / "tables" / name, "new")
    files.write_text(results / "figures" / "a.svg", "new")
    write_json(results / "runs" / "a" / "record.json", {"commit": "abc"})
    files.write_text(reference / "tables" / "claims.csv", "old")
    with limited(resource.RLIMIT_FSIZE, 2):
        text = failure(lambda: keep_reference(results, reference))
    assert text.startswith(f"{reference}: cannot be written (File too large")
    assert (reference / "tables" / "claims.csv").read_text() == "old"
    assert [path.name for path in reference.iterdir()] == ["tables"]
    keep_reference(results, reference)
    assert (reference / "tables" / "claims.csv").read_text() == "new"
    assert {path.name for path in reference.iterdir()} == {"tables", "figures", "origin.json"}


# --- compiled loops and the cache

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and no loops loaded."""
    monkeypatch.setenv("PESLOSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    pair_kernels.load.cache_clear()
    yield tmp_path / "cache"
    pair_kernels.load.cache_clear()


def loaded() -> bool:
    pair_kernels.load.cache_clear()
    return pair_kernels.load(torch.float32) is not None


def libraries(cache: Path) -> list[Path]:
    return sorted((cache / "kernels").glob("*"))


def is_whole(library: Path) -> bool:
    return library.stem[-64:] == hashlib.sha256(library.read_bytes()).hexdigest()


@needs_compiler
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped"])
def test_a_damaged_library_is_made_again(cache: Path, damage: str) -> None:
    """Loading it would end the process: SIGBUS."""
    assert loaded()
    (library,) = libraries(cache)
    whole = library.read_bytes()
    library.unlink()  # the loaded one is still in use
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    library.write_bytes(
        {"cut": whole[:middle], "empty": b"", "text": b"hello", "flipped": flipped}[damage]
    )
    assert loaded()
    assert libraries(cache) == [library]
    assert library.read_bytes() == whole


@needs_compiler
@pytest.mark.parametrize("whose", ["another user's", "writable for all", "a link"])
def test_a_library_that_others_may_have_written_is_not_loaded(
    cache: Path, tmp_path: Path, whose: str
) -> None:
    assert loaded()
    (library,) = libraries(cache)
    key = library.name[:20]
    source_file, foreign = tmp_path / "foreign.c", tmp_path / "foreign.so"
    source_file.write_text("int nothing;\n")
    subprocess.run(["cc", "-shared", "-o", foreign, source_file], check=True)
    planted = library.with_name(f"{key}-{hashlib.sha256(foreign.read_bytes()).hexdigest()}.so")
    library.unlink()
    shutil.copy(foreign, planted)
    if whose == "another user's":
        if not is_root:
            pytest.skip("only root may change owners")
        os.chown(planted, NOBODY, NOBODY)
    elif whose == "writable for all":
        planted.chmod(0o666)
    else:
        planted.unlink()
        planted.symlink_to(foreign)
    assert loaded()
    assert library in libraries(cache)


@needs_root
@needs_compiler
def test_a_folder_of_another_user_is_neither_read_nor_written(cache: Path) -> None:
    (cache / "kernels").mkdir(parents=True)
    os.chown(cache / "kernels", NOBODY, NOBODY)
    assert loaded()
    assert libraries(cache) == []


@needs_root
@needs_compiler
@pytest.mark.parametrize("options", ["size=4k", "size=1m,ro", "size=1m,noexec"])
def test_a_cache_of_no_use_is_no_hindrance(
    mounted: Callable[[str], Path], cache: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    disk = mounted(options)
    monkeypatch.setenv("PESLOSS_CACHE", str(disk))
    assert loaded()
    assert pair_kernels.described() == "compiled C"
    assert all(is_whole(path) for path in libraries(disk))


@needs_compiler
def test_without_home_there_is_no_cache_but_there_are_loops(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("PESLOSS_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert loaded()
    line = "~/.cache/pesloss: there is no such home folder; set HOME or PESLOSS_CACHE"
    assert failure(cache_folder) == line
    file = SourceFile(path="a", url="http://host/a", sha256="0" * 64, bytes=1)
    assert failure(lambda: Sources(mirror=None).target(file)) == line


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("no-such-compiler", "no C compiler 'no-such-compiler'"),
        ("cc 'unclosed", "No closing quotation"),
        ("false", "the C compiler ends with status 1"),
        ("true", "the C compiler writes nothing"),
    ],
)
def test_why_there_are_no_loops_is_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, reason: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    assert not loaded()
    said = pair_kernels.described()
    assert said.startswith("torch, for want of compiled loops (")
    assert reason in said


def test_without_room_to_compile_torch_does_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(cache / "missing"))
    assert not loaded()
    assert "No such file or directory" in pair_kernels.described()


@needs_compiler
def test_two_processes_that_compile_at_once_leave_one_library(tmp_path: Path) -> None:
    code = "import torch; from pesloss.model import pair_kernels as k; print(k.described())"
    environment = {
        **os.environ, "PESLOSS_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=-1, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0] for process in both] == ["compiled C\n"] * 2
    assert len(libraries(tmp_path)) == 1
    assert is_whole(libraries(tmp_path)[0])


# --- archives


@needs_root
def test_a_full_temporary_disk_does_not_make_an_archive_damaged(
    tmp_path: Path, mounted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(mounted("size=16k")))
    monkeypatch.setattr("pesloss.data.archives.IN_MEMORY", 1)
    info = tarfile.TarInfo("x")
    info.size = 100_000
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        opened.addfile(info, io.BytesIO(bytes(info.size)))
    text = failure(lambda: list(members(tmp_path / "a.tar")))
    assert SPACE in text
    assert "damaged" not in text
