"""Archives: whole ones read whole, hostile and damaged ones refused in one line."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import failure

from pesloss.data import archives as module
from pesloss.data.archives import members
from pesloss.job.errors import PeslossError

CONTENT = np.random.default_rng(0).integers(0, 256, 2000, np.uint8).tobytes()


FILES = {"d/b.txt": b"b" * 3000, "d/a.txt": b"", "c.txt": CONTENT, "d/e/f": b"\0" * 600}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "a.tar": bytes,
    "a.tar.gz": lambda data: gzip.compress(data, mtime=0),
    "a.tar.bz2": bz2.compress,
    "a.tar.xz": lzma.compress,
}
KINDS = [*PACKERS, "a.zip"]


def tarred(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for info, content in entries:
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def zipped(*entries: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for info, content in entries:
            opened.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def archived(kind: str, files: dict[str, bytes]) -> bytes:
    if kind == "a.zip":
        return zipped(("d/", b""), *files.items())
    entries = [(tarfile.TarInfo(f"./{name}"), content) for name, content in files.items()]
    return PACKERS[kind](tarred((folder("."), b""), (folder("./d"), b""), *entries))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("in_memory", [1, 1 << 20])
@pytest.mark.parametrize("kind", KINDS)
def test_members_come_sorted_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, in_memory: int
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY", in_memory)
    path = written(tmp_path / kind, archived(kind, FILES))
    assert list(members(path)) == sorted(FILES.items())
    renamed = path.rename(tmp_path / "download")
    assert list(members(renamed)) == sorted(FILES.items())
    assert [found.name for found in tmp_path.iterdir()] == ["download"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../x", "/x", "d/../../x", "\\x", "d\\..\\x", "C:\\x"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    content = (
        zipped(("a", b"a"), (name, b"x"))
        if kind == "a.zip"
        else PACKERS[kind](tarred((tarfile.TarInfo("a"), b"a"), (tarfile.TarInfo(name), b"x")))
    )
    path = written(tmp_path / kind, content)
    text = failure(lambda: next(members(path)))
    assert f"{path}: member {name!r}: the name leads out" in text


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "device"),
    ],
)
def test_a_tar_holds_files_and_folders_only(tmp_path: Path, kind: bytes, said: str) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.linkname = kind, "/etc/passwd"
    path = written(tmp_path / "a.tar", tarred((info, b"")))
    assert f"{path}: member 'x': is a {said}" in failure(lambda: next(members(path)))


@pytest.mark.parametrize(("mode", "said"), [(0o120777, "link"), (0o020666, "device")])
def test_a_zip_holds_files_and_folders_only(tmp_path: Path, mode: int, said: str) -> None:
    info = zipfile.ZipInfo("x")
    info.external_attr = mode << 16
    path = written(tmp_path / "a.zip", zipped((info, b"/etc/passwd")))
    assert f"{path}: member 'x': is a {said}" in failure(lambda: next(members(path)))


@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_an_archive(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / kind, archived(kind, {"a": b"a", "bomb": bytes(5_000_000)}))
    text = failure(lambda: next(members(path, limit_bytes=5_000_000)))
    assert f"{path}: member" in text
    assert "'" in text
    assert "bomb" in text
    assert "more than 5000000 bytes" in text
    assert len(dict(members(path, limit_bytes=5_000_001))) == 2
    assert "more than 2 members" in failure(lambda: next(members(path, limit_members=2)))


def test_a_bomb_behind_the_last_member_is_not_unpacked(tmp_path: Path) -> None:
    content = tarred((tarfile.TarInfo("a"), b"a")) + bytes(4 << 20)
    path = written(tmp_path / "a.tar.gz", gzip.compress(content))
    text = failure(lambda: next(members(path, limit_bytes=10)))
    assert f"{path}: member 'a': more than" in text
    assert list(members(path)) == [("a", b"a")]  # zeros are padding


def test_a_bomb_in_a_header_is_not_unpacked(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 8 << 20
    path = written(tmp_path / "a.tar.gz", gzip.compress(header.tobuf() + bytes(8 << 20)))
    assert "more than" in failure(lambda: next(members(path, limit_bytes=10)))


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    content = zipped(("bomb", bytes(100_000)))
    for size in (10, 200_000):
        lie = content.replace((100_000).to_bytes(4, "little"), size.to_bytes(4, "little"))
        path = written(tmp_path / "a.zip", lie)
        assert "member 'bomb': " in failure(lambda: list(members(path)))  # noqa: B023


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_twice_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "a.zip":
        with pytest.warns(UserWarning, match="Duplicate name"):
            content = zipped(("a", b"1"), ("a", b"2"))
    else:
        entries = [(tarfile.TarInfo(name), b"1") for name in ("a", "./a")]
        content = PACKERS[kind](tarred(*entries))
    path = written(tmp_path / kind, content)
    assert "the archive holds it twice" in failure(lambda: next(members(path)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_off_is_never_taken_for_whole(tmp_path: Path, kind: str) -> None:
    whole = archived(kind, FILES)
    if kind == "a.tar":  # what follows the first zero block is padding
        with tarfile.open(fileobj=io.BytesIO(whole)) as opened:
            end = opened.getmembers()[-1].offset_data + 1024
        whole = whole[: end + 512]
    for length in {*range(0, len(whole), 97), *range(0, len(whole), 512), len(whole) - 1}:
        found = contents(written(tmp_path / kind, whole[:length]))
        assert isinstance(found, str), length


def contents(path: Path) -> list[tuple[str, bytes]] | str:
    """What is in an archive, or the one line that says why nothing is."""
    try:
        return list(members(path))
    except PeslossError as error:
        text = str(error)
        return text if str(path) in text and "\n" not in text else [(text, b"")]


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_flipped_byte_is_seen(tmp_path: Path, kind: str) -> None:
    whole = archived(kind, FILES)
    refused = 0
    for place in range(12, len(whole) // 2, max(1, len(whole) // 50)):
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        found = contents(written(tmp_path / kind, damaged))
        refused += isinstance(found, str)
        assert isinstance(found, str) or found == sorted(FILES.items())
    assert refused > 10


def test_a_broken_header_does_not_end_a_tar(tmp_path: Path) -> None:
    whole = bytearray(tarred(*((tarfile.TarInfo(name), b"x" * 100) for name in "abc")))
    whole[1024 + 150] ^= 0xFF  # checksum of the second header
    path = written(tmp_path / "a.tar", bytes(whole))
    assert f"{path}: member 'a': damaged or cut off" in failure(lambda: next(members(path)))


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"text", b"\x1f\x8b", CONTENT])
def test_a_foreign_file_is_no_archive(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "a.zip", content)
    assert f"{path}: damaged or cut off" in failure(lambda: next(members(path)))
    assert "no such file" in failure(lambda: next(members(tmp_path / "b.zip")))
    assert "cannot be read" in failure(lambda: next(members(tmp_path)))


def test_an_encrypted_zip_is_named(tmp_path: Path) -> None:
    content = bytearray(zipped(("secret", b"secret")))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path = written(tmp_path / "a.zip", bytes(content))
    assert f"{path}: member 'secret': is encrypted" in failure(lambda: next(members(path)))
