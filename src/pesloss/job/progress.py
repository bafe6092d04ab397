"""How far a long job is: a bar on a terminal, a plain line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0

Report = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def progress(
    iterable: Iterable[T], total: int, label: str, stream: TextIO | None = None
) -> Iterator[T]:
    """Pass the items of ``iterable`` on and show how many of ``total`` are done.

    Parameters
    ----------
    iterable
        What is looped over.
    total
        How many items it has, for the time left.
    label, stream
        As for `reporting`.
    """
    with reporting(label, stream) as report:
        report(0, total)
        for done, item in enumerate(iterable, start=1):
            yield item
            report(done, total)


@contextmanager
def reporting(label: str, stream: TextIO | None = None, of_bytes: bool = False) -> Iterator[Report]:
    """Yield a function that is told how much is done; nothing is shown before it is told.

    Parameters
    ----------
    label
        What is being done, in a word or two.
    stream
        Where to write; standard error by default. A terminal gets a bar, anything else a line
        every ten seconds and one at the end.
    of_bytes
        Whether bytes are counted, not items.
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield _lines(label, stream, of_bytes)
        return
    with ExitStack() as bars:
        bar: Any = None
        look: dict[str, Any] = {"unit": "B", "unit_scale": True} if of_bytes else {}

        def report(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = bars.enter_context(tqdm(desc=label, file=stream, leave=False, **look))
            bar.total = total
            bar.update(done - bar.n)

        yield report


def _lines(label: str, stream: TextIO, of_bytes: bool) -> Report:
    start = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        how_much = f"{done / 1e6:.1f}/{total / 1e6:.1f} MB" if of_bytes else f"{done}/{total}"
        if done == total:
            stream.write(f"{label}: {how_much} in {now - start:.1f} s\n")
        elif done and now - last >= SECONDS_BETWEEN_LINES:
            left = (now - start) * (total - done) / done
            stream.write(f"{label}: {how_much}, {left:.0f} s left\n")
            last = now
        else:
            return
        stream.flush()

    return report
