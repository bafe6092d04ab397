"""Files from elsewhere: fetched once and checked by hash before every use."""

import fcntl
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import unquote, urlsplit

import requests
from pydantic import Field, StringConstraints, field_validator
from urllib3.exceptions import HTTPError

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import written_whole
from pesloss.job.progress import Report
from pesloss.job.surroundings import expanded, writing
from pesloss.spec.yaml_models import PositiveInt, Strict

CHUNK = 1 << 16
LONGEST_PAUSE = 60.0  # seconds; what a busy server asks for is granted up to this

IN_CACHE = "name a folder with space and permission (--config cache=FOLDER or PESLOSS_CACHE)"

Hex256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]


class SourceFile(Strict):
    """One file of somebody else's, and how to tell that it is the right one."""

    path: str = Field(description="name in the cache, relative to its folder")
    url: str = Field(description="where its owner keeps it (http or https)")
    sha256: Hex256 = Field(description="SHA-256 of its content, 64 hexadecimal digits")
    bytes: PositiveInt = Field(description="its size")

    @field_validator("path")
    @classmethod
    def _path_stays_in_the_cache(cls, path: str) -> str:
        plain = PurePosixPath(path)
        if leaves_its_folder(path) or "\\" in path or str(plain) != path or not plain.name:
            raise ValueError("allowed: a relative name without '..', '//' and backslashes")
        return path

    @field_validator("url")
    @classmethod
    def _url_names_a_file(cls, url: str) -> str:
        parts = urlsplit(url)
        rest = unquote(parts.path).strip("/")
        known = re.fullmatch(r"https?://\S+", url) and parts.hostname and rest
        if not known or leaves_its_folder(rest):
            raise ValueError("allowed: http://HOST/FILE or https://HOST/FILE without '..'")
        return url


@dataclass(frozen=True)
class Sources:
    """Where files are looked for, and how patiently."""

    cache: Path = field(default_factory=lambda: Path(_environment("CACHE") or "~/.cache/pesloss"))
    """Folder of checked files; PESLOSS_CACHE, else ~/.cache/pesloss."""
    mirror: str | None = field(default_factory=lambda: _environment("MIRROR"))
    """Folder or base URL that holds HOST/REST or REST of https://HOST/REST; PESLOSS_MIRROR."""
    attempts: int = 4
    """How often a URL is tried."""
    timeout: float = 20.0
    """Seconds without a byte after which an attempt is given up."""
    pause: float = 1.0
    """Seconds before the second attempt; doubled before each later one."""

    def __post_init__(self) -> None:
        if self.mirror and "://" in self.mirror and not self.mirror_is_url:
            raise wrong_value("sources", "mirror", self.mirror, "a folder, http://… or https://…")
        if self.attempts < 1:
            raise wrong_value("sources", "attempts", self.attempts, "1 or more")
        if not self.timeout > 0:
            raise wrong_value("sources", "timeout", self.timeout, "more than 0 s")
        if not self.pause >= 0:
            raise wrong_value("sources", "pause", self.pause, "0 s or more")

    @property
    def mirror_is_url(self) -> bool:
        """Tell whether the mirror is a base URL rather than a folder."""
        return bool(re.match(r"https?://", self.mirror or ""))

    def target(self, file: SourceFile) -> Path:
        """Return where ``file`` is kept."""
        return expanded(self.cache) / file.path

    def in_mirror(self, file: SourceFile) -> list[str]:
        """Return where the mirror may have ``file``: two paths or URLs, or none."""
        if not self.mirror:
            return []
        parts = urlsplit(file.url)
        rest = parts.path.lstrip("/")
        if self.mirror_is_url:
            query = f"?{parts.query}" if parts.query else ""
            base = self.mirror.rstrip("/")
            return [f"{base}/{rest}{query}", f"{base}/{parts.hostname}/{rest}{query}"]
        folder = expanded(self.mirror)
        return [str(folder / unquote(rest)), str(folder / str(parts.hostname) / unquote(rest))]


def _environment(name: str) -> str | None:
    return os.environ.get(f"PESLOSS_{name}") or None


def leaves_its_folder(name: str) -> bool:
    """Tell whether a relative name is absolute after all or leads out of its folder."""
    absolute = re.match(r"[/\\]|[A-Za-z]:[/\\]", name)
    return bool(absolute) or ".." in re.split(r"[/\\]", name) or "\0" in name


def fetch(file: SourceFile, sources: Sources, report: Report | None = None) -> Path:
    """Return the path of ``file`` in the cache, fetched first where it is not there.

    The hash is checked before every return; a damaged file in the cache is fetched again. A
    download has the name of ``file`` only once size and hash are right. Its folder is locked
    meanwhile: another process or thread that wants the same file waits, then finds it there.

    Parameters
    ----------
    file
        What is wanted.
    sources
        The cache, the mirror and the patience.
    report
        Told the bytes done and the bytes in all, at each piece of a download.

    Raises
    ------
    PeslossError
        One line: every place where it was looked for, why it was not had there (status, size,
        hash or cause, and how many attempts), and what can be done.
    """
    target = sources.target(file)
    with writing(target, IN_CACHE):
        if not _is_whole(target, file):
            with _alone(target.parent):
                if not _is_whole(target, file):  # nobody was faster
                    with written_whole(target, IN_CACHE) as scratch:
                        _obtain(file, sources, _Part(scratch, file, report))
    return target


def _is_whole(path: Path, file: SourceFile) -> bool:
    if not _has_size(path, file):
        return False
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() == file.sha256


def _has_size(path: Path, file: SourceFile) -> bool:
    return os.path.isfile(path) and path.stat().st_size == file.bytes


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process or thread at a time into ``folder``; a lock ends with whoever holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks: several may fetch then
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class _Lasting(Exception):
    """A failure that trying again does not mend."""


class _Passing(Exception):
    """A failure that may be gone at the next attempt."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class _Part:
    """What has come of a file so far."""

    def __init__(self, path: Path, file: SourceFile, report: Report | None) -> None:
        self.file, self._path, self._report = file, path, report
        self.done = 0

    def receive(self, pieces: Iterable[bytes]) -> None:
        """Write ``pieces`` in place of what has come before, and check size and hash.

        Raises
        ------
        _Passing
            When bytes are missing.
        _Lasting
            At the first byte that is too many; when the hash is wrong.
        """
        found, self.done = hashlib.sha256(), 0
        with self._path.open("wb") as handle:
            for piece in pieces:
                if self.done + len(piece) > self.file.bytes:
                    raise _Lasting(f"sends more than the {self.file.bytes} bytes expected")
                handle.write(piece)
                found.update(piece)
                self.done += len(piece)
                if self._report is not None:
                    self._report(self.done, self.file.bytes)
        if self.done < self.file.bytes:
            raise _Passing(f"ends after {self.done} of {self.file.bytes} bytes")
        if found.hexdigest() != self.file.sha256:
            raise _Lasting(f"SHA-256 is {found.hexdigest()}, expected {self.file.sha256}")


def _obtain(file: SourceFile, sources: Sources, part: _Part) -> None:
    places = dict.fromkeys([*sources.in_mirror(file), file.url])
    failures: list[str] = []
    silent: set[str] = set()
    for place in places:
        host = urlsplit(place).netloc
        if host and host in silent:
            continue
        try:
            if place == file.url or sources.mirror_is_url:
                _download(place, sources, part)
            else:
                _copy(Path(place), part)
            return
        except _Passing as failure:
            silent.add(host)
            failures.append(f"{place}: {failure}")
        except _Lasting as failure:
            failures.append(f"{place}: {failure}")
    raise PeslossError(
        f"{file.path} ({file.bytes} bytes, SHA-256 {file.sha256}) cannot be fetched: "
        f"{'; '.join(failures)}; check the card's url, bytes and sha256, set a mirror (--config "
        f"mirror=FOLDER_OR_URL or PESLOSS_MIRROR) or put the file at {sources.target(file)}"
    )


def _copy(path: Path, part: _Part) -> None:
    if not os.path.isfile(path):
        raise _Lasting("no such file")
    if not _has_size(path, part.file):
        raise _Lasting(f"holds {path.stat().st_size} bytes, expected {part.file.bytes}")
    part.receive(_read(path))


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as handle:
            yield from iter(lambda: handle.read(CHUNK), b"")
    except OSError as error:
        raise _Lasting(_cause(error)) from None


def _download(url: str, sources: Sources, part: _Part) -> None:
    for attempt in range(1, sources.attempts + 1):
        try:
            _attempt(url, sources.timeout, part)
            return
        except _Lasting as failure:
            raise _Lasting(f"{failure} ({_attempts(attempt)})") from None
        except _Passing as failure:
            if attempt == sources.attempts:
                raise _Passing(f"{failure} ({_attempts(attempt)})") from None
            time.sleep(max(sources.pause * 2 ** (attempt - 1), failure.pause))


def _attempts(number: int) -> str:
    return "1 attempt" if number == 1 else f"{number} attempts"


def _attempt(url: str, timeout: float, part: _Part) -> None:
    part.done = 0
    asked = {"Accept-Encoding": "identity", "User-Agent": "pesloss"}
    try:
        with requests.get(url, headers=asked, stream=True, timeout=timeout) as response:
            _check_answer(response, part.file)
            part.receive(_pieces(response))
    except requests.Timeout:
        raise _Passing(f"no answer for {timeout:g} s") from None
    except (requests.ConnectionError, HTTPError) as error:
        cause = f"no byte for {timeout:g} s" if _timed_out(error) else _cause(error)
        raise _Passing(f"{cause}, {part.done} of {part.file.bytes} bytes done") from None
    except requests.RequestException as error:
        raise _Lasting(_cause(error)) from None


def _check_answer(response: requests.Response, file: SourceFile) -> None:
    status = response.status_code
    if status in (408, 429) or status >= 500:
        wish = response.headers.get("Retry-After", "")
        raise _Passing(
            f"HTTP status {status}", min(float(wish), LONGEST_PAUSE) if wish.isdecimal() else 0.0
        )
    if status != 200:
        raise _Lasting(f"HTTP status {status}")
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) != file.bytes:
        raise _Lasting(f"offers {length} bytes, expected {file.bytes}")


def _pieces(response: requests.Response) -> Iterator[bytes]:
    # As sent: some servers declare a stored .gz to be compressed for the journey only.
    return iter(lambda: response.raw.read1(CHUNK, decode_content=False), b"")


def _timed_out(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _cause(error: BaseException) -> str:
    while inner := error.__cause__ or error.__context__:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def unavailable(
    sets: Mapping[str, Iterable[SourceFile]], sources: Sources, probe_timeout: float = 3.0
) -> dict[str, str]:
    """Tell which sets of files cannot be had whole, and why.

    A file can be had when one of its size lies in the cache or in a mirror folder, or when the
    mirror's URL or its own host answers at all. Each host is asked once, all of them together.

    Returns
    -------
    By name of the set a sentence that names a file and where it was looked for.
    """
    wanted = {
        name: [file for file in files if not _is_at_hand(file, sources)]
        for name, files in sets.items()
    }
    mirror = str(sources.mirror) if sources.mirror_is_url else ""
    urls = [file.url for files in wanted.values() for file in files]
    if not urls:
        return {}
    urls += [mirror] if mirror else []
    silent = _silent({_host(url): url for url in reversed(urls)}, probe_timeout)
    if mirror and _host(mirror) not in silent:
        return {}
    first = {
        name: next((file for file in files if _host(file.url) in silent), None)
        for name, files in wanted.items()
    }
    return {
        name: _not_had(file, sources, mirror, silent)
        for name, file in first.items()
        if file is not None
    }


def _not_had(file: SourceFile, sources: Sources, mirror: str, silent: Mapping[str, str]) -> str:
    host = _host(file.url)
    looked = f"the mirror {sources.mirror}" if sources.mirror else "a mirror (none is set)"
    unheard = f" (no answer: {silent[_host(mirror)]})" if mirror else ""
    return (
        f"{file.path} is neither in the cache {sources.cache} nor in {looked}{unheard}, "
        f"and {host} does not answer ({silent[host]})"
    )


def _is_at_hand(file: SourceFile, sources: Sources) -> bool:
    places = [] if sources.mirror_is_url else [Path(place) for place in sources.in_mirror(file)]
    return any(_has_size(path, file) for path in [sources.target(file), *places])


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _silent(urls: Mapping[str, str], timeout: float) -> dict[str, str]:
    """Return the reasons of those ``urls`` whose hosts do not answer."""
    reasons = dict.fromkeys(urls, f"no answer for {timeout:g} s")

    def probe(name: str, url: str) -> None:
        try:
            answer = requests.head(url, timeout=timeout)
        except (requests.RequestException, HTTPError) as error:
            if not _timed_out(error):
                reasons[name] = _cause(error)
            return
        if answer.status_code < 500 and answer.status_code != 407:
            del reasons[name]
        else:
            reasons[name] = f"HTTP status {answer.status_code}"

    # Daemons, since a name server's silence may outlast every timeout.
    probes = [threading.Thread(target=probe, args=pair, daemon=True) for pair in urls.items()]
    deadline = time.monotonic() + timeout
    for thread in probes:
        thread.start()
    for thread in probes:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(reasons)
