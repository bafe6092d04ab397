"""A file from elsewhere is the right one or a one-line error; an archive harms nobody."""

import fcntl
import hashlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from conftest import failure
from test_progress import Terminal

from pesloss.data import fetch as module
from pesloss.data.fetch import (
    SourceFile,
    Sources,
    fetch,
    unavailable,
)
from pesloss.job import progress
from pesloss.job.progress import reporting
from pesloss.job.surroundings import SCRATCH
from pesloss.spec.yaml_models import parse

ROOT = Path(__file__).parents[1]
ORIGINAL = (
    ROOT.parent / "shared/data/originals/materialsvirtuallab/snap"
    "/5fc2251b45c72dea0c9799d7aad3e3261a077a5b/NbMoTaW/training/MoW_Test.json"
)
CONTENT = (
    ORIGINAL.read_bytes()
    if ORIGINAL.exists()
    else np.random.default_rng(0).integers(0, 256, 80_000, np.uint8).tobytes()
)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2
OTHER = bytes(reversed(CONTENT))
REST = "owner/repository/data/a.json"


class Server(ThreadingHTTPServer):
    """Serves CONTENT, with one fault for each of the first requests, the last for all others."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults = [""]
        self.paths: list[str] = []
        self.known: set[str] | None = None
        self.released = threading.Event()
        self.lock = threading.Lock()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def file(self, **changes: Any) -> SourceFile:
        card = {"path": "set/a.json", "url": f"{self.base}/{REST}", "sha256": SHA256}
        return SourceFile.model_validate({**card, "bytes": len(CONTENT), **changes})


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        with self.server.lock:
            self.server.paths.append(self.path)
        self.answer(503 if self.server.faults[0] == "503" else 200, b"")

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.paths.append(self.path)
            fault = server.faults.pop(0) if len(server.faults) > 1 else server.faults[0]
        body = OTHER if fault == "wrong bytes" else CONTENT
        if server.known is not None and self.path not in server.known:
            fault = "404"
        if fault.isdecimal():
            self.answer(int(fault), b"sorry")
        elif fault == "redirect":
            self.answer(302, b"", headers={"Location": f"{server.base}/moved/a.json"})
        elif fault == "endless":
            self.answer(302, b"", headers={"Location": self.path})
        elif fault == "hang":
            server.released.wait(5)
        elif fault == "longer":
            self.answer(200, body + b"x")
        elif fault == "shorter":
            self.answer(200, body[:-1])
        elif fault == "much longer":
            self.answer(200, body + bytes(1 << 20), promise=False)
        elif fault == "gzip":
            self.answer(200, body, headers={"Content-Encoding": "gzip"})
        else:
            self.answer(200, body, fault)

    def answer(
        self,
        status: int,
        body: bytes,
        fault: str = "",
        promise: bool = True,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if promise and fault != "ends early, no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.startswith("ends early") or fault == "stalls":
            body = body[: len(body) // 2]
        try:
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:
            return  # the client has had enough
        if fault == "stalls":
            self.server.released.wait(5)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "pesloss_cache", "pesloss_mirror"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.released.set()
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(cache=tmp_path / "cache", mirror=None, timeout=30, pause=0.0)


def waiting(sources: Sources, seconds: float, fault: str) -> Sources:
    """Wait only ``seconds`` where the server says nothing; a busy machine is no silent server."""
    return replace(sources, timeout=seconds) if fault in ("hang", "stalls") else sources


@pytest.fixture
def silent() -> str:
    """A URL where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/{REST}"


def availability(
    files: Iterable[SourceFile], sources: Sources, probe_timeout: float = 3.0
) -> str | None:
    return unavailable({"": files}, sources, probe_timeout).get("")


def files_in(sources: Sources) -> list[str]:
    return sorted(path.name for path in sources.cache.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("faults", "n_requests"),
    [
        ([""], 1),
        (["ends early", ""], 2),
        (["ends early, no length", ""], 2),
        (["ends early", "ends early", "ends early", ""], 4),
        (["hang", ""], 2),
        (["stalls", ""], 2),
        (["500", ""], 2),
        (["503", "429", "408", ""], 4),
        (["redirect", ""], 2),
        (["redirect", "ends early", "redirect", ""], 4),
        (["gzip"], 1),
    ],
    ids=str,
)
def test_a_fault_that_passes_leaves_no_trace(
    server: Server, sources: Sources, faults: list[str], n_requests: int
) -> None:
    server.faults = faults
    path = fetch(server.file(), waiting(sources, 1.0, faults[0]))
    assert path == sources.cache / "set/a.json"
    assert path.read_bytes() == CONTENT
    assert files_in(sources) == ["a.json"]
    assert len(server.paths) == n_requests


@pytest.mark.parametrize(
    ("fault", "n_requests", "said"),
    [
        ("404", 1, "HTTP status 404 (1 attempt)"),
        ("403", 1, "HTTP status 403 (1 attempt)"),
        ("500", 4, "HTTP status 500 (4 attempts)"),
        ("hang", 4, "no answer for 0.05 s (4 attempts)"),
        ("longer", 1, f"offers {len(CONTENT) + 1} bytes, expected {len(CONTENT)} (1 attempt)"),
        ("shorter", 1, f"offers {len(CONTENT) - 1} bytes, expected {len(CONTENT)} (1 attempt)"),
        ("much longer", 1, f"sends more than the {len(CONTENT)} bytes expected (1 attempt)"),
        ("endless", 31, "redirects"),
        ("wrong bytes", 1, f"SHA-256 is {hashlib.sha256(OTHER).hexdigest()}, expected {SHA256}"),
    ],
)
def test_a_fault_that_stays_is_one_line(
    server: Server, sources: Sources, fault: str, n_requests: int, said: str
) -> None:
    server.faults = [fault]
    file = server.file()
    text = failure(lambda: fetch(file, waiting(sources, 0.05, fault)))
    assert said in text
    for part in (file.url, SHA256, str(sources.target(file)), "PESLOSS_MIRROR", "mirror=FOLDER"):
        assert part in text
    assert len(server.paths) == n_requests
    assert files_in(sources) == []


@pytest.mark.parametrize("fault", ["ends early, no length", "stalls"])
def test_a_server_that_always_breaks_off_is_given_up(
    server: Server, sources: Sources, fault: str
) -> None:
    server.faults = [fault]
    file = server.file()
    few = replace(sources, attempts=2)
    text = failure(lambda: fetch(file, waiting(few, 0.5, fault)))
    assert re.search(rf"(no byte for 0.5 s|ends after), \d+|ends after \d+ of {file.bytes}", text)
    assert "(2 attempts)" in text
    assert files_in(sources) == []


def test_the_pause_grows_and_a_busy_server_is_heard(
    server: Server, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.faults = ["500"]
    failure(lambda: fetch(server.file(), replace(sources, pause=0.5)))
    assert pauses == [0.5, 1.0, 2.0]
    answer = Handler.answer

    def busy(handler: Handler, status: int, body: bytes) -> None:
        answer(handler, status, body, headers={"Retry-After": "86400"})

    pauses.clear()
    monkeypatch.setattr(Handler, "answer", busy)
    failure(lambda: fetch(server.file(), replace(sources, attempts=2)))
    assert pauses == [module.LONGEST_PAUSE]


def test_a_cached_file_is_not_fetched_and_a_damaged_one_is(
    server: Server, sources: Sources
) -> None:
    file = server.file()
    path = fetch(file, sources)
    fetch(file, sources)
    assert len(server.paths) == 1
    for damage in (OTHER, CONTENT[:-1], b""):
        path.write_bytes(damage)
        assert fetch(file, sources).read_bytes() == CONTENT
    assert len(server.paths) == 4


def test_a_damaged_file_stays_damaged_without_a_source(sources: Sources, silent: str) -> None:
    file = SourceFile(path="a", url=silent, sha256=SHA256, bytes=len(CONTENT))
    sources.cache.mkdir()
    sources.target(file).write_bytes(OTHER)
    assert "Connection refused" in failure(lambda: fetch(file, sources))


def test_nothing_answers(sources: Sources, silent: str) -> None:
    file = SourceFile(path="a", url=silent, sha256=SHA256, bytes=len(CONTENT))
    text = failure(lambda: fetch(file, sources))
    assert f"{silent}: Connection refused" in text
    assert "(4 attempts)" in text
    assert files_in(sources) == []
    reason = availability([file], sources)
    assert reason is not None
    for part in ("a is neither", str(sources.cache), "none is set", silent[:-30], "refused"):
        assert part in reason


def test_an_unknown_host_is_named(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    file = SourceFile(path="a", url="https://nowhere.invalid/a", sha256=SHA256, bytes=1)
    assert "https://nowhere.invalid/a: Name or service not known" in failure(
        lambda: fetch(file, sources)
    )
    assert "https://nowhere.invalid does not answer (Name" in str(availability([file], sources))


@pytest.mark.parametrize("below", ["", "127.0.0.1/"])
def test_a_mirror_folder_is_enough(
    tmp_path: Path, sources: Sources, silent: str, below: str
) -> None:
    copy = tmp_path / "mirror" / below / REST
    copy.parent.mkdir(parents=True)
    copy.write_bytes(CONTENT)
    file = SourceFile(path="a", url=silent, sha256=SHA256, bytes=len(CONTENT))
    mirrored = replace(sources, mirror=str(tmp_path / "mirror"))
    assert availability([file], mirrored) is None
    assert fetch(file, mirrored).read_bytes() == CONTENT
    assert files_in(sources) == ["a"]
    assert availability([file], sources) is None  # by now it is in the cache


def test_the_originals_are_a_mirror(sources: Sources) -> None:
    if not ORIGINAL.exists():
        pytest.skip("no originals beside the repository")
    folder = ROOT.parent / "shared/data/originals"
    url = f"https://raw.githubusercontent.com/{ORIGINAL.relative_to(folder)}"
    file = SourceFile(path="a", url=url, sha256=SHA256, bytes=len(CONTENT))
    assert fetch(file, replace(sources, mirror=str(folder))).read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [OTHER, CONTENT[:-1], CONTENT + b"x"])
def test_a_wrong_mirror_is_passed_over_and_named(
    tmp_path: Path, server: Server, sources: Sources, wrong: bytes
) -> None:
    copy = tmp_path / "mirror" / REST
    copy.parent.mkdir(parents=True)
    copy.write_bytes(wrong)
    mirrored = replace(sources, mirror=str(tmp_path / "mirror"))
    assert fetch(server.file(), mirrored).read_bytes() == CONTENT
    server.faults = ["404"]
    sources.target(server.file()).unlink()
    text = failure(lambda: fetch(server.file(), mirrored))
    assert re.search(rf"{re.escape(str(copy))}: (SHA-256 is|holds)", text)
    assert "127.0.0.1/owner/repository/data/a.json: no such file" in text
    assert "HTTP status 404" in text


@pytest.mark.parametrize("below", ["", "127.0.0.1/"])
def test_a_mirror_url_is_asked_first(
    server: Server, sources: Sources, silent: str, below: str
) -> None:
    server.known = {f"/base/{below}{REST}?download=1"}
    file = SourceFile(path="a", url=f"{silent}?download=1", sha256=SHA256, bytes=len(CONTENT))
    mirrored = replace(sources, mirror=f"{server.base}/base/")
    assert availability([file], mirrored) is None
    assert fetch(file, mirrored).read_bytes() == CONTENT


def test_a_silent_mirror_is_asked_for_one_of_its_two_places(
    server: Server, sources: Sources, silent: str
) -> None:
    mirrored = replace(sources, mirror=silent, attempts=2)
    server.faults = ["404"]
    text = failure(lambda: fetch(server.file(), mirrored))
    assert text.count("Connection refused") == 1
    assert availability([server.file()], mirrored) is None


def test_each_host_is_probed_once_and_not_for_long(server: Server, sources: Sources) -> None:
    files = [server.file(path=name) for name in "abc"]
    assert availability(files, sources) is None
    assert len(server.paths) == 1
    server.faults = ["503"]
    assert "HTTP status 503" in str(availability(files, sources))
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/a"
        start = time.monotonic()
        reason = availability([server.file(url=url)], replace(sources, mirror=url), 0.1)
        assert time.monotonic() - start < 1
    assert "no answer for 0.1 s" in str(reason)


def test_a_slow_name_server_does_not_hold_up_the_probe(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = threading.Event()

    def slow(*_: object, **__: object) -> None:
        found.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    file = SourceFile(path="a", url="https://nowhere.invalid/a", sha256=SHA256, bytes=1)
    start = time.monotonic()
    assert "no answer for 0.05 s" in str(availability([file], sources, 0.05))
    assert time.monotonic() - start < 1
    found.set()


def test_a_file_of_another_size_is_not_available(sources: Sources, silent: str) -> None:
    file = SourceFile(path="a", url=silent, sha256=SHA256, bytes=len(CONTENT))
    sources.cache.mkdir()
    sources.target(file).write_bytes(CONTENT[:-1])
    assert availability([file], sources) is not None
    assert availability([], sources) is None


def test_many_at_once_fetch_once(server: Server, sources: Sources) -> None:
    server.faults = ["ends early", "ends early", ""]
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch(server.file(), sources), range(8)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.paths) == 3
    assert files_in(sources) == ["a.json"]


def test_who_waited_for_one_that_gave_up_begins_anew(server: Server, sources: Sources) -> None:
    file = server.file()
    with ThreadPoolExecutor(1) as pool:
        with module._alone(sources.target(file).parent):
            waits = pool.submit(fetch, file, sources)
            assert not wait([waits], 0.05).done
        assert waits.result().read_bytes() == CONTENT
    assert files_in(sources) == ["a.json"]


def in_a_process(server: Server, sources: Sources, timeout: float) -> subprocess.Popen[bytes]:
    code = (
        "from pathlib import Path; from pesloss.data.fetch import *; "
        f"fetch(SourceFile.model_validate({server.file().model_dump()!r}), "
        f"Sources(cache=Path({str(sources.cache)!r}), mirror=None, timeout={timeout}, pause=0))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def test_who_waited_for_a_killed_process_begins_anew(server: Server, sources: Sources) -> None:
    server.faults = ["stalls", ""]
    file = server.file()
    process = in_a_process(server, sources, 30)
    folder = sources.target(file).parent
    while not any(path.stat().st_size for path in folder.glob(f"{SCRATCH}*")):
        assert process.poll() is None
        time.sleep(0.005)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(fetch, file, sources)
        assert not wait([waits], 0.05).done  # the lock is the process's
        assert len(server.paths) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert waits.result().read_bytes() == CONTENT
    assert len(server.paths) == 2
    assert files_in(sources) == ["a.json"]


def test_two_processes_fetch_once(server: Server, sources: Sources) -> None:
    processes = [in_a_process(server, sources, 5) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert sources.target(server.file()).read_bytes() == CONTENT
    assert len(server.paths) == 1


def test_without_locks_each_writes_aside(
    server: Server, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    server.faults = ["ends early", ""]
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(server.file(), sources), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert files_in(sources) == ["a.json"]
    server.faults = ["wrong bytes"]
    failure(lambda: fetch(server.file(path="b", sha256="0" * 64), sources))
    assert files_in(sources) == ["a.json"]


def test_a_cache_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = server.file()
    for cache in (tmp_path / "file", tmp_path / "ok"):
        sources = Sources(cache=cache, mirror=None)
        if cache.name == "ok":
            sources.target(file).mkdir(parents=True)
        text = failure(lambda sources=sources: fetch(file, sources))  # type: ignore[misc]
        assert f"{sources.target(file)}: cannot be written (" in text
        assert "PESLOSS_CACHE" in text


def test_a_full_disk_is_no_fault_of_the_server(
    server: Server, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, pieces: Iterator[bytes]) -> None:
        next(pieces)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._Part, "receive", full)
    text = failure(lambda: fetch(server.file(), sources))
    assert "(No space left on device); name a folder with space" in text
    assert files_in(sources) == []
    assert len(server.paths) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("path", path) for path in ("", ".", "/a", "../a", "a/../b", "a//b", "a\\b", "C:/a")),
        *(("url", url) for url in ("ftp://h/a", "https://h", "https://h/", "a", "https:///a")),
        *(("url", url) for url in ("https://h/../a", "https://h/a/%2e%2e/b", "https://h/a b")),
        *(("sha256", text) for text in ("", "0" * 63, "g" * 64, "0" * 64 + "\n")),
        *(("bytes", size) for size in (0, -1, "many", None)),
        ("mode", 1),
    ],
)
def test_a_wrong_card_is_refused(server: Server, key: str, value: object) -> None:
    card = {**server.file().model_dump(), key: value}
    text = failure(lambda: parse(SourceFile, card, "card.yaml"))
    assert text.startswith("card.yaml: ")
    assert key in text


def test_a_hash_in_capitals_is_the_same(server: Server) -> None:
    assert server.file(sha256=SHA256.upper()) == server.file()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Sources().mirror is None
    card = SourceFile(path="a", url="https://h/a", sha256=SHA256, bytes=1)
    assert Sources().target(card) == Path.home() / ".cache/pesloss/a"
    monkeypatch.setenv("PESLOSS_CACHE", "/somewhere")
    monkeypatch.setenv("PESLOSS_MIRROR", "https://mirror")
    assert Sources().target(card) == Path("/somewhere/a")
    assert Sources().mirror == "https://mirror"


@pytest.mark.parametrize(
    ("key", "value"),
    [("mirror", "s3://bucket"), ("attempts", 0), ("timeout", 0), ("pause", -1)],
)
def test_wrong_settings_are_refused(key: str, value: Any) -> None:
    assert f"sources: {key} is {value!r}; allowed: " in failure(lambda: Sources(**{key: value}))


def test_a_terminal_gets_a_bar_and_a_log_gets_lines(
    server: Server, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(module, "CHUNK", 10_000)
    for stream in (Terminal(), io.StringIO()):
        with reporting("a.json", stream, of_bytes=True) as report:
            fetch(server.file(), sources, report)
        sources.target(server.file()).unlink()
        text = stream.getvalue()
        assert "a.json" in text
        assert ("\r" in text) == stream.isatty()
    lines = text.splitlines()
    assert re.fullmatch(r"a\.json: 0\.0/0\.1 MB, \d+ s left", lines[0])
    assert re.fullmatch(r"a\.json: 0\.1/0\.1 MB in \d+\.\d s", lines[-1])
    for stream in (Terminal(), io.StringIO()):
        with reporting("a.json", stream, of_bytes=True):
            pass
        assert stream.getvalue() == ""
