"""What the machine refuses (space, permission, memory) or the user stops, said in one line."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from pesloss.job.errors import PeslossError

SCRATCH = ".part-"
"""How the names of unfinished files begin."""

_PERMISSION = "ask for permission or name another place"
ADVICE: Mapping[int, str] = {
    errno.ENOSPC: "free space on that disk or name another one",
    errno.EDQUOT: "free some of your quota or name another disk",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EROFS: "name a place that is not read-only",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs: the machine has no more open files",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "a part of the path is no folder: name another place",
    errno.EEXIST: "a part of the path is no folder: name another place",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ELOOP: "mend the links that lead to each other",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the network disk",
}
OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory", "bad_alloc")
"""What NumPy, pandas and torch write, apart from MemoryError, when there is no more memory."""


class Terminated(BaseException):
    """SIGTERM was received."""


@dataclass(frozen=True)
class Ending:
    """With what exit status and line a program ends."""

    status: int
    line: str


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there was not enough memory.

    pandas calls it a ``ParserError`` and torch a ``RuntimeError``: those are told by their text.
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    foreign = isinstance(error, RuntimeError | ValueError) and not isinstance(error, PeslossError)
    return foreign and any(sign in text for sign in OUT_OF_MEMORY)


def refusal(error: BaseException, where: object = "", done: str = "read") -> PeslossError | None:
    """Return the machine's refusal as one line; None for an error of any other kind.

    Parameters
    ----------
    error
        Whatever was raised. An ``OSError`` without a number is a library's word on a file's
        content, no refusal of the machine's.
    where
        File or job that it was raised for; the file that the error names when left out.
    done
        What could not be done with it: read, written, …
    """
    if is_out_of_memory(error):
        reason = " ".join(str(error).split())[:200] or "MemoryError"
        advice = "ask for more or run fewer jobs at once"
        return PeslossError(f"{where or 'here'}: not enough memory ({reason}); {advice}")
    if not isinstance(error, OSError) or error.errno is None:
        return None
    where = where or error.filename or "a file"
    if isinstance(error, FileNotFoundError) and done == "read":
        return PeslossError(f"{where}: no such file")
    return PeslossError(f"{where}: cannot be {done} ({_reason(error, where)}){_advice(error)}")


def pass_on(error: BaseException, where: object = "", done: str = "read") -> None:
    """Raise the machine's refusal as one line; return where ``error`` is of any other kind.

    For handlers that would call the file damaged.
    """
    refused = refusal(error, where, done)
    if refused is not None:
        raise refused from None


@contextmanager
def writing(path: Path | str, advice: str = "") -> Iterator[None]:
    """Say in one line that ``path`` cannot be written when the block raises an ``OSError``.

    ``advice`` stands in place of what the kind of the error suggests.
    """
    try:
        yield
    except OSError as error:
        reason, mend = _reason(error, path), f"; {advice}" if advice else _advice(error)
        raise PeslossError(f"{path}: cannot be written ({reason}){mend}") from None


def _reason(error: OSError, where: object) -> str:
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    named = error.filename
    if named is None or str(named) == str(where) or Path(str(named)).name.startswith(SCRATCH):
        return reason
    return f"{reason}: {named}"


def _advice(error: OSError) -> str:
    advice = ADVICE.get(error.errno or 0)
    return f"; {advice}" if advice else ""


def ending(error: BaseException, where: object = "") -> Ending | None:
    """Return how a program ends after ``error``: status 1, 130 (Ctrl-C), 141 or 143 (SIGTERM).

    None for an error that is the program's own. The numbers are those of a shell: 128 and that of
    the signal. Nobody is left to read a line where a pipe is closed.
    """
    if isinstance(error, PeslossError):
        return Ending(1, str(error))
    if isinstance(error, KeyboardInterrupt):
        return Ending(130, "stopped by Ctrl-C; nothing half-written is kept")
    if isinstance(error, Terminated):
        return Ending(143, "stopped by SIGTERM; nothing half-written is kept")
    if isinstance(error, BrokenPipeError):
        return Ending(141, "")
    refused = refusal(error, getattr(error, "filename", None) or where, "used")
    return None if refused is None else Ending(1, str(refused))


def run(name: str, body: Callable[[], object]) -> int:
    """Run a command; return its exit status, with one line on stderr where it is not zero."""
    try:
        with terminable():
            body()
            sys.stdout.flush()
    except BaseException as error:
        end = ending(error, "standard output" if isinstance(error, OSError) else name)
        if end is None:
            raise
        if end.line:
            sys.stderr.write(f"{name}: {end.line}\n")
        if isinstance(error, OSError):
            _drop_output()
        return end.status
    return 0


def _drop_output() -> None:
    """Give up what could not be written: Python would try again when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise ``Terminated`` in the block, so that it is left as after Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def cache_folder() -> Path:
    """Return the folder of what is kept between runs: PESLOSS_CACHE, else ~/.cache/pesloss.

    Raises
    ------
    PeslossError
        When neither is known, as in a container whose user has no home.
    """
    return expanded(os.environ.get("PESLOSS_CACHE") or "~/.cache/pesloss")


def expanded(folder: Path | str) -> Path:
    """Return ``folder`` with ``~`` and ``~user`` put in.

    Raises
    ------
    PeslossError
        When there is no such home.
    """
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        message = "there is no such home folder; set HOME or PESLOSS_CACHE"
        raise PeslossError(f"{folder}: {message}") from None
