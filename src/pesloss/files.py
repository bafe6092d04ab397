"""Files that are either whole or absent: write aside, then rename; check on reading."""

import gzip
import io
import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from pesloss.errors import PeslossError


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Yield a scratch path in the same folder that becomes ``path`` when the block succeeds.

    The scratch file keeps the suffix of ``path``, since writers choose a format by it. When the
    block raises, the scratch file is removed and ``path`` is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix="".join(path.suffixes))
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        scratch.chmod(0o644)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` to ``path`` whole or not at all."""
    with written_whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path | str, content: Any) -> None:
    """Write ``content`` as indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Read a JSON object that must hold ``keys``.

    Raises
    ------
    PeslossError
        When the file is missing, is truncated, is no JSON object or lacks a key.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PeslossError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PeslossError(f"{path}: not a JSON file ({error}); delete it and run again") from None
    if not isinstance(content, dict):
        raise PeslossError(f"{path}: not a JSON object; delete it and run again")
    missing = [key for key in keys if key not in content]
    if missing:
        raise PeslossError(f"{path}: lacks key {missing[0]!r}; needed: {', '.join(keys)}")
    return cast(dict[str, Any], content)


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write ``table`` as CSV (gzipped when the name says so), byte for byte repeatable."""
    content = table.to_csv(index=False, lineterminator="\n").encode("utf-8")
    if str(path).endswith(".gz"):
        content = gzip.compress(content, compresslevel=4, mtime=0)
    with written_whole(path) as scratch:
        scratch.write_bytes(content)


def read_table(path: Path | str, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV written by ``write_table`` that must hold ``columns``.

    Floats come back exactly as they were written. Extra columns are kept.

    Raises
    ------
    PeslossError
        When the file is missing, is truncated, is no table or lacks a column.
    """
    try:
        content = Path(path).read_bytes()
        if str(path).endswith(".gz"):
            content = gzip.decompress(content)
        table = pd.read_csv(
            io.BytesIO(content), float_precision="round_trip", keep_default_na=False, na_values=[""]
        )
    except FileNotFoundError:
        raise PeslossError(f"{path}: no such file") from None
    except (EOFError, OSError, ValueError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise PeslossError(f"{path}: not a table ({reason}); delete it and run again") from None
    if not content.endswith(b"\n"):
        raise PeslossError(f"{path}: the last line is cut off; delete it and run again")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise PeslossError(
            f"{path}: lacks column {missing[0]!r}; found: {', '.join(map(str, table.columns))}"
        )
    return table


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
        When the file is missing, truncated, no such archive or lacks an array.
    """
    try:
        with Path(path).open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except FileNotFoundError:
        raise PeslossError(f"{path}: no such file") from None
    except Exception as error:
        raise PeslossError(f"{path}: not {what} ({error}); delete it and run again") from None
