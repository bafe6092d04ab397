"""Archives from elsewhere, read with care: nothing in them is trusted or written to disk."""

import bz2
import gzip
import io
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from pesloss.data.fetch import CHUNK, leaves_its_folder
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.surroundings import pass_on, refusal

LIMIT_BYTES = 2 << 30
LIMIT_MEMBERS = 1_000_000
IN_MEMORY = 64 << 20  # bytes of an unpacked tar beyond which it waits in an unnamed file
HEADERS = 1 << 20  # bytes of headers a tar may hold on top of its limit
UNPACKING = (EOFError, MemoryError, OSError, lzma.LZMAError, zlib.error)
PACKINGS: Mapping[bytes, tuple[str, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
}
"""How a packed file begins, what it is called, and what opens it."""


class _Counted(io.RawIOBase):
    """A stream that ends in a PeslossError where it is damaged or has too many bytes."""

    def __init__(self, source: IO[bytes], limit: int, where: str) -> None:
        self.source, self.limit, self.where = source, limit, where
        self.count = 0
        self.nonzero = 0
        """Number of bytes up to the last one that is not zero."""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read up to the size of ``buffer``."""
        try:
            data = self.source.read(len(buffer))
        except UNPACKING as error:
            raise _unreadable(self.where, error) from None
        filled = data.rstrip(b"\0")
        if filled:
            self.nonzero = self.count + len(filled)
        self.count += len(data)
        if self.count > self.limit:
            raise PeslossError(f"{self.where}: more than {self.limit} bytes when unpacked")
        buffer[: len(data)] = data
        return len(data)


def _unreadable(where: str, error: BaseException) -> PeslossError:
    refused = refusal(error, where, "unpacked")
    if refused is not None:
        return refused
    reason = " ".join(str(error).split()) or type(error).__name__
    return PeslossError(f"{where}: damaged or cut off ({reason})")


@contextmanager
def _counted(path: Path, limit: int) -> Iterator[_Counted]:
    """Yield the content of ``path``, unpacked where it is a .gz, .bz2 or .xz."""
    try:
        handle = path.open("rb")
    except OSError as error:
        pass_on(error, path)
        raise
    with handle:
        start = handle.read(6)
        handle.seek(0)
        opener = next((PACKINGS[magic][1] for magic in PACKINGS if start.startswith(magic)), None)
        with cast(IO[bytes], opener(handle)) if opener else handle as source:
            yield _Counted(source, limit, str(path))


def members(
    archive: Path | str, limit_bytes: int = LIMIT_BYTES, limit_members: int = LIMIT_MEMBERS
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a .zip or .tar(.gz, .bz2, .xz), sorted by name.

    No member is written to disk under its name. A tar can only be sorted once it is unpacked: it
    is kept in memory meanwhile or, when it is large, in an unnamed temporary file.

    Parameters
    ----------
    archive
        The file; its kind is told by its content.
    limit_bytes
        Size of all members together that is refused when exceeded.
    limit_members
        Number of members, folders included, that is refused when exceeded.

    Raises
    ------
    PeslossError
        One line with archive and member: the archive is missing, damaged, cut off or encrypted,
        exceeds a limit, or holds a name twice, a name that leads out of its folder, a link, a
        device or another thing that is neither file nor folder.
    """
    archive = Path(archive)
    with _counted(archive, LIMIT_BYTES) as stream:
        is_zip = stream.read(4) in (b"PK\3\4", b"PK\5\6")
    contents = _zip_contents if is_zip else _tar_contents
    yield from contents(archive, _Limits(archive, limit_bytes, limit_members))


class _Limits:
    """What the members of an archive must not exceed, and the names that were there before."""

    def __init__(self, archive: Path, n_bytes: int, n_members: int) -> None:
        self.archive, self.n_bytes, self.n_members = archive, n_bytes, n_members
        self.total = self.number = 0
        self._names: set[str] = set()

    def admitted(self, name: str, size: int, kind: str) -> str:
        """Check a member that says it is ``size`` bytes of ``kind``; return its plain name."""
        where = f"{self.archive}: member {name!r}"
        self.number += 1
        self.total += size
        if self.number > self.n_members:
            raise PeslossError(f"{where}: there are more than {self.n_members} members")
        if leaves_its_folder(name):
            raise PeslossError(f"{where}: the name leads out of the archive's folder")
        if kind not in ("file", "folder"):
            raise PeslossError(f"{where}: is a {kind}; allowed: files and folders")
        if size < 0 or self.total > self.n_bytes:
            raise PeslossError(f"{where}: there are more than {self.n_bytes} bytes when unpacked")
        plain = str(PurePosixPath(name))
        if plain in self._names and kind == "file":
            raise PeslossError(f"{where}: the archive holds it twice")
        self._names.add(plain)
        return plain


def _zip_contents(archive: Path, limits: _Limits) -> Iterator[tuple[str, bytes]]:
    try:
        opened = zipfile.ZipFile(archive)
    except (*UNPACKING, zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise _unreadable(str(archive), error) from None
    with opened:
        files: dict[str, zipfile.ZipInfo] = {}
        for info in opened.infolist():
            kind = _zip_kind(info)
            name = limits.admitted(info.filename, info.file_size, kind)
            if info.flag_bits & 1:
                raise PeslossError(f"{archive}: member {name!r}: is encrypted")
            if kind == "file":
                files[name] = info
        for name in sorted(files):
            yield name, _zip_content(opened, files[name], f"{archive}: member {name!r}")


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "device"
    return "folder" if info.is_dir() else "file"


def _zip_content(opened: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> bytes:
    try:
        with opened.open(info) as handle:
            content = handle.read(info.file_size + 1)
    except (*UNPACKING, zipfile.BadZipFile) as error:
        raise _unreadable(where, error) from None
    except (NotImplementedError, RuntimeError, ValueError) as error:
        raise PeslossError(f"{where}: cannot be read ({error})") from None
    if len(content) != info.file_size:
        raise wrong_value(where, "size", len(content), f"{info.file_size}, as the archive says")
    return content


def _tar_contents(archive: Path, limits: _Limits) -> Iterator[tuple[str, bytes]]:
    places: dict[str, tuple[int, int]] = {}
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        with _counted(archive, limits.n_bytes + HEADERS) as stream:
            try:
                _spool_tar(stream, limits, spool, places)
            except PeslossError:
                raise
            except (tarfile.TarError, MemoryError, OSError, OverflowError, ValueError) as error:
                raise _unreadable(stream.where, error) from None
        for name in sorted(places):
            start, size = places[name]
            spool.seek(start)
            yield name, spool.read(size)


def _spool_tar(
    stream: _Counted, limits: _Limits, spool: IO[bytes], places: dict[str, tuple[int, int]]
) -> None:
    end = 0
    with tarfile.open(fileobj=stream, mode="r|") as opened:
        for member in opened:
            kind = _tar_kind(member)
            name = limits.admitted(member.name, member.size, kind)
            stream.where = f"{limits.archive}: member {name!r}"
            end = member.offset_data
            if kind == "file":
                end += -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                places[name] = spool.tell(), member.size
                content = opened.extractfile(member)
                assert content is not None
                shutil.copyfileobj(content, spool, CHUNK)
    while stream.read(CHUNK):  # a packed tar has its checksum at the end
        pass
    # To tarfile a tar that is cut off or broken between two members is one that ends there.
    if stream.nonzero > end or stream.count < end + tarfile.BLOCKSIZE:
        raise tarfile.ReadError("no end mark after it")


def _tar_kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "link"
    if member.isdir():
        return "folder"
    return "file" if member.isreg() and not member.issparse() else "device or sparse file"
