"""Bytes of a file, unpacked within limits."""

import codecs
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pesloss.data.archives import PACKINGS, UNPACKING
from pesloss.job.errors import PeslossError
from pesloss.job.surroundings import pass_on

Content = bytes | Path
ZIP = b"PK\x03\x04"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MAX_UNPACKED = 2**30  # bytes; a small file may unpack to more than the memory holds


def bytes_of(name: str, content: Content) -> bytes:
    """Return the content, unpacked where it is packed by gzip, xz or bzip2.

    Raises
    ------
    PeslossError
        When it is cut off, would unpack to more than ``MAX_UNPACKED`` bytes, or is a ZIP.
    """
    packed = content.read_bytes() if isinstance(content, Path) else content
    if not packed:
        raise PeslossError(f"{name}: the file is empty")
    if packed.startswith(ZIP):
        raise PeslossError(f"{name}: a ZIP; unpack it first")
    for magic, (kind, opened) in PACKINGS.items():
        if packed.startswith(magic):
            return _unpacked(name, packed, kind, opened)
    return packed


def unpacked(name: str, content: Content) -> Content:
    """Return the content itself where it is not packed, else its unpacked bytes."""
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
        start = file.read(max(map(len, PACKINGS)))
    plain = bool(start) and not start.startswith((*PACKINGS, ZIP))
    return content if plain else bytes_of(name, content)


def _unpacked(name: str, packed: bytes, kind: str, opened: Callable[[IO[bytes]], Any]) -> bytes:
    try:
        with opened(io.BytesIO(packed)) as stream:
            unpacked: bytes = stream.read(MAX_UNPACKED + 1)
    except UNPACKING as error:
        pass_on(error, name)
        raise PeslossError(f"{name}: truncated or not {kind} ({error})") from None
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
    """Return the content as text: UTF-8, or UTF-16 with its mark; lines end with a line feed.

    Raises
    ------
    PeslossError
        When it is binary or in another encoding, with the line.
    """
    found = bytes_of(name, content)
    encoding = "utf-16" if found.startswith(UTF_16) else "utf-8-sig"
    try:
        text = found.decode(encoding)
    except UnicodeDecodeError as error:
        line, byte = found.count(b"\n", 0, error.start) + 1, found[error.start]
        raise PeslossError(
            f"{name}: not a text file in UTF-8 (line {line} has the byte 0x{byte:02x})"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


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
