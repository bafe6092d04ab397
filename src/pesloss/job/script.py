"""What every script of the workflow has in common: its log, its errors, its cost."""

import io
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

import psutil

from pesloss.job import provenance
from pesloss.job.errors import PeslossError
from pesloss.job.files import write_json
from pesloss.job.progress import progress
from pesloss.job.surroundings import ending, terminable, writing

T = TypeVar("T")
COST_SUFFIX = ".cost.json"
NOTES = "notes"
FAILED = "failed: "  # begins the line of a log that says why the job failed


@dataclass(frozen=True)
class Job:
    """A running job, the log it writes to, and what the user should know in the end."""

    label: str
    log: TextIO
    notes: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Write a line to the log."""
        self.log.write(f"{line}\n")

    def note(self, line: str) -> None:
        """Write a line to the log, and at the end of the job before the user's eyes."""
        self.notes.append(line)
        self.say(f"note: {line}")

    def progress(self, items: Iterable[T], total: int, label: str = "") -> Iterator[T]:
        """Show a bar on a terminal, or lines with the time left in the log."""
        stream = sys.stderr if sys.stderr.isatty() else self.log
        yield from progress(items, total, label or self.label, stream)

    def watch(self, items: Any) -> Iterator[Any]:
        """Show the progress through a sequence of known length."""
        yield from self.progress(items, len(items))


class _Log(io.TextIOWrapper):
    """A log that says in one line when it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(path.open("wb"), encoding="utf-8", line_buffering=True)

    def write(self, text: str) -> int:
        """Write ``text``; whole lines at once."""
        with writing(self.path):
            return super().write(text)

    def close(self) -> None:
        """Write the rest."""
        with writing(self.path):
            super().close()


@contextmanager
def job(snakemake: Any) -> Iterator[Job]:
    """Run the body of a workflow script.

    A mistake of the user's, what the machine refuses (space, permission, memory), Ctrl-C and
    SIGTERM end the job with one line; any other failure leaves its traceback in the log. Time since
    the start of the process, imports included, peak memory and notes go into a file beside the log;
    notes are shown in the end, too.
    """
    path = Path(snakemake.log[0])
    label = f"{snakemake.rule} {' '.join(map(str, snakemake.wildcards))}".strip()
    try:
        with terminable(), _Log(path) as log:
            running = Job(label, log)
            with _failure_in(log, label):
                yield running
            write_json(path.with_suffix(COST_SUFFIX), _cost(snakemake, running))
    except BaseException as error:
        end = ending(error, label)
        if end:
            sys.stderr.write(f"{label}: {end.line}\n")
        sys.exit(end.status if end else 1)
    for line in running.notes:
        sys.stderr.write(f"{label}: note: {line}\n")


@contextmanager
def _failure_in(log: TextIO, label: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        end = ending(error, label)
        with suppress(PeslossError):  # a full disk takes no log either; stderr has the line
            log.write("" if end else traceback.format_exc())
            log.write(f"{FAILED}{end.line if end else _last_line(error)}\n")
        raise


def _last_line(error: BaseException) -> str:
    return " ".join(traceback.format_exception_only(error)[-1].split())


def _cost(snakemake: Any, running: Job) -> dict[str, Any]:
    return {
        "rule": snakemake.rule,
        "wildcards": dict(snakemake.wildcards.items()),
        "seconds": round(time.time() - psutil.Process().create_time(), 3),
        "peak_memory_mib": round(provenance.peak_memory_mib(), 1),
        NOTES: running.notes,
    }
