"""What every script of the workflow has in common: its log, its errors, its cost."""

import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

import psutil

from pesloss import provenance
from pesloss.errors import PeslossError
from pesloss.files import write_json
from pesloss.progress import progress

T = TypeVar("T")
COST_SUFFIX = ".cost.json"
FAILED = "failed: "  # begins the line of a log that says why the job failed


@dataclass(frozen=True)
class Job:
    """A running job and the log it writes to."""

    label: str
    log: TextIO

    def say(self, line: str) -> None:
        """Write a line to the log."""
        self.log.write(f"{line}\n")

    def progress(self, items: Iterable[T], total: int, label: str = "") -> Iterator[T]:
        """Show a bar on a terminal, or lines with the time left in the log."""
        stream = sys.stderr if sys.stderr.isatty() else self.log
        yield from progress(items, total, label or self.label, stream)

    def watch(self, items: Any) -> Iterator[Any]:
        """Show the progress through a sequence of known length."""
        yield from self.progress(items, len(items))


@contextmanager
def job(snakemake: Any) -> Iterator[Job]:
    """Run the body of a workflow script.

    A mistake of the user's ends the job with one line; any other failure leaves its traceback in
    the log. Time since the start of the process, imports included, and peak memory go into a file
    beside the log.
    """
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    label = f"{snakemake.rule} {' '.join(map(str, snakemake.wildcards))}".strip()
    with path.open("w", encoding="utf-8") as log:
        try:
            yield Job(label, log)
        except PeslossError as error:
            log.write(f"{FAILED}{error}\n")
            sys.stderr.write(f"{label}: {error}\n")
            sys.exit(1)
        except Exception as error:
            log.write(traceback.format_exc())
            log.write(f"{FAILED}{' '.join(traceback.format_exception_only(error)[-1].split())}\n")
            sys.exit(1)
    cost = {
        "rule": snakemake.rule,
        "wildcards": dict(snakemake.wildcards.items()),
        "seconds": round(time.time() - psutil.Process().create_time(), 3),
        "peak_memory_mib": round(provenance.peak_memory_mib(), 1),
    }
    write_json(path.with_suffix(COST_SUFFIX), cost)
