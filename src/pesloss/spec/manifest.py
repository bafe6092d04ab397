"""The files of a finished run, and the JSON files that say which bytes they have.

A run's folder holds three kinds of manifest: ``record.json`` goes with what a training writes,
``evaluation.json`` with the tables of its errors, and ``NAME.json`` with a further table
``NAME.csv``. Each has the run's name, which is that of its folder, the SHA-256 of the ``files`` it
goes with and of those they were ``made_from``, and a ``digest`` of itself. So a file of another
run, another dataset or another training is known wherever it lies.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import parse_table, read_bytes, read_json, sha256, write_json
from pesloss.spec.run import WILDCARDS, Run

RECORD, EVALUATION = "record.json", "evaluation.json"
EVALUATED = ("structures.csv.gz", "atoms.csv.gz")
TRAINED = (
    "weights.pt", "history.csv", "loss_signal.csv.gz", "gradient_signal.csv", "predictions.npz",
)  # fmt: skip
PASSING = (
    "seconds",
    "group",
    "training_key",
    "peak_memory_mib",
    "commit",
    "commit_unknown_since",
    "versions",
    "repeat_with",
)
"""What tells of how a file was made and not of what is in it; no part of its digest."""
AGAIN = "delete it and run again"


def manifest_of(name: str) -> str:
    """Return the manifest that the file ``name`` of a run goes with."""
    if name in TRAINED:
        return RECORD
    return EVALUATION if name in EVALUATED else f"{name.split('.')[0]}.json"


def write_manifest(
    path: Path, content: Mapping[str, Any], files: Iterable[Path], made_from: Iterable[Path] = ()
) -> None:
    """Write ``content``, which names the ``run``, with digests of files that lie beside ``path``.

    The files are there already: whoever finds the manifest finds them whole.
    """
    whole = {
        **content,
        "files": {file.name: sha256(file) for file in files},
        "made_from": {file.name: sha256(file) for file in made_from},
    }
    write_json(path, {**whole, "digest": _digest(whole)})


def _digest(content: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in content.items() if key not in (*PASSING, "digest")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest of the run whose folder it lies in.

    Raises
    ------
    PeslossError
        When the file is missing, damaged, changed, without digests or that of another run.
    """
    content = read_json(path, ("run",))
    for key in ("files", "made_from", "digest"):
        if key not in content:
            raise PeslossError(f"{path}: lacks key {key!r}, made by an earlier version; {AGAIN}")
    if content["digest"] != _digest(content):
        raise PeslossError(f"{path}: was changed after it was written (its digest says); {AGAIN}")
    named = "/".join(path.absolute().parent.parts[-WILDCARDS.count("/") - 1 :])
    if content["run"] != named:
        raise wrong_value(str(path), "run", content["run"], f"{named}, its folder's; {AGAIN}")
    return content


@dataclass(frozen=True)
class RunFolder:
    """The folder of a finished run; every file is checked against its manifest on reading."""

    path: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The run's record; errors as `read_manifest`."""
        return read_manifest(self.path / RECORD)

    @property
    def run(self) -> Run:
        """The run that the record names."""
        return Run.from_folder(self.record["run"])

    @cached_property
    def _manifests(self) -> dict[str, dict[str, Any]]:
        return {}

    def manifest(self, name: str) -> dict[str, Any]:
        """Return a manifest, whose files were made from those that are there now.

        Raises
        ------
        PeslossError
            As `read_manifest`, and when its files were made from others.
        """
        if name == RECORD:
            return self.record
        if name not in self._manifests:
            found = read_manifest(self.path / name)
            for source, digest in found["made_from"].items():
                if self.expected(source) != digest:
                    raise PeslossError(
                        f"{self.path / name}: was made from another {source} than "
                        f"{manifest_of(source)} goes with; {AGAIN}"
                    )
            self._manifests[name] = found
        return self._manifests[name]

    def expected(self, name: str) -> str:
        """Return the SHA-256 that the file ``name`` has to have; errors as `manifest`."""
        manifest = manifest_of(name)
        files = self.manifest(manifest)["files"]
        if name not in files:
            raise PeslossError(f"{self.path / manifest}: goes with no file {name!r}; {AGAIN}")
        return str(files[name])

    def content(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises
        ------
        PeslossError
            When it is missing or not the file its manifest goes with.
        """
        content = read_bytes(self.path / name)
        self._check(name, hashlib.sha256(content).hexdigest())
        return content

    def _check(self, name: str, found: str) -> None:
        if found != self.expected(name):
            raise PeslossError(
                f"{self.path / name}: SHA-256 is {found[:12]}…; allowed: "
                f"{self.expected(name)[:12]}…, which {manifest_of(name)} names; {AGAIN}"
            )

    def check(self, name: str) -> Path:
        """Return the path of a file, checked as `content` does."""
        self._check(name, sha256(self.path / name))
        return self.path / name

    def table(
        self, name: str, columns: Sequence[str] = (), unique: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Read a table of the run: `read_table` of a file that is checked first."""
        return parse_table(self.path / name, self.content(name), columns, unique)


def write_receipt(path: Path, folders: Iterable[Path]) -> None:
    """Write that runs are trained and evaluated: the digests of their manifests, run by run.

    It is one file for all runs of a job, the same bytes for the same results.

    Raises
    ------
    PeslossError
        As `read_manifest`.
    """
    runs = {
        folder.record["run"]: {n: folder.manifest(n)["digest"] for n in (RECORD, EVALUATION)}
        for folder in map(RunFolder, folders)
    }
    write_json(path, {"runs": runs})


def lacking(receipt: Path, runs: Path) -> Iterator[tuple[Path, str]]:
    """Find what a receipt speaks of and what is not there, or not as it was.

    Files that are there are checked by `damaged`.

    Parameters
    ----------
    receipt
        A file of `write_receipt`.
    runs
        The folder that the runs' folders lie in.

    Yields
    ------
    The file, and what is the matter with it, in one line.
    """
    try:
        named = read_json(receipt, ("runs",))["runs"]
        for run, digests in named.items():
            for name, digest in digests.items():
                yield from _lacking(RunFolder(runs / run), name, digest, receipt)
    except (PeslossError, AttributeError) as error:
        said = error if isinstance(error, PeslossError) else f"{receipt}: runs is no mapping"
        yield receipt, str(said).removesuffix(f"; {AGAIN}")


def _lacking(
    folder: RunFolder, name: str, digest: str, receipt: Path
) -> Iterator[tuple[Path, str]]:
    path = folder.path / name
    if not path.is_file():
        yield path, f"{path}: no such file; {receipt} speaks of it"
        return
    with suppress(PeslossError):  # a damaged one is found by `damaged`
        manifest = folder.manifest(name)
        if manifest["digest"] != digest:
            yield path, f"{path}: is another than {receipt} speaks of"
        for file in manifest["files"]:
            if not (folder.path / file).is_file():
                yield folder.path / file, f"{folder.path / file}: no such file; {name} names it"


def damaged(manifests: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Find the manifests that are not what they were, or whose files are not.

    One that is not there is not damaged, and a file that is not there is made again anyway.

    Yields
    ------
    The manifest, to be made again with all of its files, and why, in one line.
    """
    for parent, paths in groupby(sorted(manifests), lambda path: path.parent):
        folder = RunFolder(parent)
        for path in paths:
            try:
                if path.exists():
                    _check_all(folder, path.name)
            except PeslossError as error:
                yield path, str(error).removesuffix(f"; {AGAIN}")


def _check_all(folder: RunFolder, name: str) -> None:
    for file in folder.manifest(name)["files"]:
        if (folder.path / file).exists():
            folder.check(file)
