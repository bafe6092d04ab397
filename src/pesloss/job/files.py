"""Files that are either whole or absent: write aside, then rename; check on reading."""

import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from pesloss.job.errors import PeslossError
from pesloss.job.surroundings import SCRATCH, pass_on, writing

SCRATCH_NAME = re.compile(re.escape(SCRATCH) + r"[a-z0-9_]{8}(\..*)?")
MOMENT = (1980, 1, 1, 0, 0, 0)  # of every file in a ZIP, so that it is repeatable
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def written_whole(path: Path | str, advice: str = "") -> Iterator[Path]:
    """Yield a scratch path in the same folder that becomes ``path`` when the block succeeds.

    The scratch file keeps the suffix of ``path``, since writers choose a format by it. When the
    block raises, the scratch file is removed and ``path`` is left as it was; a process that is
    killed leaves it behind, and the next one that writes to the folder removes it. A link is
    followed. File and folder are synchronised before and after the renaming: when the machine
    loses power, ``path`` is the old file or the new one, on file systems that keep their word.

    Raises
    ------
    PeslossError
        One line: the file, what the machine refused (space, permission, …) and what to do, which
        is ``advice`` where that is given.
    """
    with writing(path, advice):
        target = _target(Path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target.parent)
        lock, scratch = _claimed(target)
    try:
        with writing(path, advice):
            yield scratch
            scratch.chmod(0o644)
            _synchronise(scratch)
            scratch.replace(target)
            with suppress(OSError):
                _synchronise(target.parent)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        os.close(lock)


def _target(path: Path) -> Path:
    """Return what is to be replaced; nothing that is no file, /dev/stdout for one, ever is."""
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if target.exists() and not target.is_file():
        raise PeslossError(f"{path}: is a device or a pipe; allowed: the name of a file")
    return target


def _claimed(target: Path) -> tuple[int, Path]:
    """Make a scratch file, locked as long as this process lives."""
    while True:
        lock, name = tempfile.mkstemp(
            dir=target.parent, prefix=SCRATCH, suffix="".join(target.suffixes)
        )
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return lock, Path(name)
        os.close(lock)


def _synchronise(path: Path) -> None:
    """Wait until the disk has what was written: some disks say only then that they are full."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(handle)


def is_scratch(path: Path) -> bool:
    """Tell whether a file is one that `written_whole` has not finished."""
    return SCRATCH_NAME.fullmatch(path.name) is not None


def remove_abandoned(folder: Path) -> list[Path]:
    """Remove the scratch files of processes that were killed; return which.

    A living process, also one on another machine or in another container, holds a lock on its own.
    Where the file system has no locks nothing is removed.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        found = [Path(entry.path) for entry in entries if entry.name.startswith(SCRATCH)]
        return [path for path in found if is_scratch(path) and _removed(path)]
    return []


def _removed(path: Path) -> bool:
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stat.S_ISREG(os.fstat(handle).st_mode):
                path.unlink()
                return True
        finally:
            os.close(handle)
    return False


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` to ``path`` whole or not at all."""
    with written_whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write ``content`` to ``path`` whole or not at all."""
    with written_whole(path) as scratch:
        scratch.write_bytes(content)


def write_json(path: Path | str, content: Any) -> None:
    """Write ``content`` as indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_bytes(path: Path | str) -> bytes:
    """Read a whole file.

    Raises
    ------
    PeslossError
        When it is missing, cannot be read or does not fit into memory.
    """
    try:
        return Path(path).read_bytes()
    except (MemoryError, OSError) as error:
        pass_on(error, path)
        raise


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; errors as `read_bytes`."""
    try:
        with Path(path).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        pass_on(error, path)
        raise


def read_json(
    path: Path | str,
    keys: Sequence[str] = (),
    advice: str = "delete it and run again",
    finite: bool = True,
) -> dict[str, Any]:
    """Read a JSON object that must hold ``keys``, each once.

    Parameters
    ----------
    path, keys
        The file, and what it has to hold.
    advice
        What to do about a file that is no such thing; other than deleting it where it is the
        user's own.
    finite
        Whether NaN and infinity are refused here; else by whoever knows what they stand for.

    Raises
    ------
    PeslossError
        When the file is missing, cannot be read, is truncated, is no JSON object, has a number that
        is not finite or a key twice, or lacks a key.
    """
    try:
        text = read_bytes(path).decode("utf-8")
        content = json.loads(
            text, parse_constant=_no_number if finite else float, object_pairs_hook=_once
        )
    except PeslossError:
        raise
    except (MemoryError, ValueError, RecursionError) as error:
        pass_on(error, path)
        raise PeslossError(f"{path}: not a JSON file ({error}); {advice}") from None
    if not isinstance(content, dict):
        raise PeslossError(f"{path}: not a JSON object; {advice}")
    missing = [key for key in keys if key not in content]
    if missing:
        raise PeslossError(f"{path}: lacks key {missing[0]!r}; needed: {', '.join(keys)}")
    return cast(dict[str, Any], content)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in names if names.count(key) > 1)!r} twice")
    return found


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write ``table`` as CSV (gzipped when the name says so), byte for byte repeatable."""
    content = table.to_csv(index=False, lineterminator="\n").encode("utf-8")
    if str(path).endswith(".gz"):
        content = gzip.compress(content, compresslevel=4, mtime=0)
    write_bytes(path, content)


def read_table(
    path: Path | str, columns: Sequence[str] = (), unique: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a CSV written by ``write_table`` that must hold ``columns``.

    Floats come back exactly as they were written, names of structures as text. Extra columns are
    kept.

    Parameters
    ----------
    path
        File to read.
    columns
        What it must hold.
    unique
        Columns that are filled in every row and together name a row: no two have the same.

    Raises
    ------
    PeslossError
        When the file is missing, cannot be read, is truncated, is no table, lacks a column or a
        name, or holds a row twice.
    """
    return parse_table(path, read_bytes(path), columns, unique)


def parse_table(
    path: Path | str, content: bytes, columns: Sequence[str] = (), unique: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a table as `read_table`, from the bytes of the file ``path``."""
    try:
        if str(path).endswith(".gz"):
            content = gzip.decompress(content)
        table = pd.read_csv(
            io.BytesIO(content),
            float_precision="round_trip",
            keep_default_na=False,
            na_values=[""],
            dtype={"structure": str},
        )
    except (EOFError, MemoryError, OSError, ValueError, zlib.error) as error:
        pass_on(error, path)
        reason = " ".join(str(error).split())
        raise PeslossError(f"{path}: not a table ({reason}); delete it and run again") from None
    if not content.endswith(b"\n"):
        raise PeslossError(f"{path}: the last line is cut off; delete it and run again")
    missing = [column for column in (*columns, *unique) if column not in table.columns]
    if missing:
        raise PeslossError(
            f"{path}: lacks column {missing[0]!r}; found: {', '.join(map(str, table.columns))}"
        )
    _check_unique(path, table, unique)
    return table


def _check_unique(path: Path | str, table: pd.DataFrame, unique: Sequence[str]) -> None:
    for column in unique:
        empty = np.flatnonzero(table[column].isna())
        if len(empty):
            raise PeslossError(f"{path}: row {empty[0] + 1} has no {column}; make the file again")
    twice = table.duplicated(list(unique)) if unique else pd.Series(dtype=bool)
    if twice.any():
        first = int(np.argmax(twice.to_numpy()))
        row = ", ".join(f"{column} {table[column].iloc[first]}" for column in unique)
        more = f" ({twice.sum()} such rows)" if twice.sum() > 1 else ""
        raise PeslossError(f"{path}: {row} is there twice{more}; make the file again")


def write_zip(archive: Path | str, files: Iterable[Path], root: Path) -> None:
    """Write a ZIP of ``files``, named as seen from ``root``: whole, byte for byte repeatable."""
    with written_whole(archive) as scratch, zipfile.ZipFile(scratch, "w") as packed:
        for path in sorted(files):
            name = zipfile.ZipInfo(path.relative_to(root).as_posix(), MOMENT)
            name.external_attr = 0o644 << 16
            packed.writestr(name, path.read_bytes(), zipfile.ZIP_DEFLATED)


def same_structures(
    found: Iterable[Any], where: Path | str, others: Iterable[Any], elsewhere: Path | str
) -> None:
    """Refuse files of a dataset that do not hold the same structures.

    Parameters
    ----------
    found, others
        Names of structures, in any order.
    where, elsewhere
        Files that hold them, for the message.

    Raises
    ------
    PeslossError
        Naming the files, the first structure that only one of them has, and how many such.
    """
    one, other = set(map(str, found)), set(map(str, others))
    for lacking, has, names in ((where, elsewhere, other - one), (elsewhere, where, one - other)):
        if names:
            more = f" nor {len(names) - 1} others" if len(names) > 1 else ""
            raise PeslossError(
                f"{lacking}: does not hold structure {min(names)!r}{more}, which {has} holds: "
                "one is damaged or of another dataset; delete both and run again"
            )


DAMAGED_ARCHIVE = (
    ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What reading an archive raises that is not one: RuntimeError for a packing that is not known."""


def read_arrays(path: Path | str, names: Sequence[str], what: str) -> dict[str, Any]:
    """Read arrays of a NumPy archive.

    Parameters
    ----------
    path
        An archive as ``numpy.savez`` writes it.
    names
        The arrays to read.
    what
        What the file should be, with its article, for the message.

    Raises
    ------
    PeslossError
        When the file is missing, cannot be read or does not fit into memory, is truncated, no such
        archive or lacks an array.
    """
    try:
        with Path(path).open("rb") as handle:
            archive = np.load(handle, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("one array, not an archive")
            with archive:
                return {name: archive[name] for name in names}
    except (MemoryError, OSError, *DAMAGED_ARCHIVE) as error:
        pass_on(error, path)
        raise PeslossError(f"{path}: not {what} ({error}); delete it and run again") from None
