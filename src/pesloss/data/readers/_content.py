"""Bytes of a file, unpacked within limits."""

import gzip
import io
import json
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pesloss.errors import PeslossError
from pesloss.surroundings import pass_on

Content = bytes | Path
GZIP = b"\x1f\x8b"
MAX_UNPACKED = 2**30  # bytes; a small file may unpack to more than the memory holds


def bytes_of(name: str, content: Content) -> bytes:
    """Return the content, unpacked where it is gzipped.

    Raises
    ------
    PeslossError
        When it is cut off or would unpack to more than ``MAX_UNPACKED`` bytes.
    """
    packed = content.read_bytes() if isinstance(content, Path) else content
    if not packed.startswith(GZIP):
        return packed
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            unpacked = stream.read(MAX_UNPACKED + 1)
    except (EOFError, MemoryError, OSError, zlib.error) as error:
        pass_on(error, name)
        raise PeslossError(f"{name}: truncated or not gzip ({error})") from None
    check_size(name, len(unpacked))
    return unpacked


def check_size(name: str, size: int) -> None:
    """Refuse what is larger than ``MAX_UNPACKED`` bytes.

    Raises
    ------
    PeslossError
        With the limit.
    """
    if size > MAX_UNPACKED:
        raise PeslossError(f"{name}: unpacks to more than {MAX_UNPACKED} bytes, the limit")


def text_of(name: str, content: Content) -> str:
    """Return the content as text.

    Raises
    ------
    PeslossError
        When it is binary.
    """
    try:
        return bytes_of(name, content).decode("utf-8")
    except UnicodeDecodeError:
        raise PeslossError(f"{name}: not a text file") from None


def list_of(name: str, content: Content) -> list[Any]:
    """Return the entries of a JSON list.

    Raises
    ------
    PeslossError
        When it is no JSON, is cut off or is no list.
    """
    try:
        entries = json.loads(text_of(name, content))
    except (json.JSONDecodeError, RecursionError) as error:
        raise PeslossError(f"{name}: truncated or not JSON ({error})") from None
    if not isinstance(entries, list):
        raise PeslossError(f"{name}: not a JSON list of structures")
    return entries


@contextmanager
def path_of(content: Content) -> Iterator[Path]:
    """Yield a path to the content, for libraries that read no bytes."""
    if isinstance(content, Path):
        yield content
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "content"
        path.write_bytes(content)
        yield path
