"""How far a long loop is: a bar on a terminal, a plain line now and then in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


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
    label
        What is being done, in a word or two.
    stream
        Where to write; standard error by default. A terminal gets a bar, anything else a line
        every ten seconds and one at the end.
    """
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        yield from tqdm(iterable, total=total, desc=label, file=stream, leave=False)
    else:
        yield from _lines(iterable, total, label, stream)


def _lines(iterable: Iterable[T], total: int, label: str, stream: TextIO) -> Iterator[T]:
    start = last = time.monotonic()
    done = 0
    for item in iterable:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            left = (now - start) * (total - done) / done
            stream.write(f"{label}: {done}/{total}, {left:.0f} s left\n")
            stream.flush()
            last = now
    stream.write(f"{label}: {done}/{total} in {time.monotonic() - start:.1f} s\n")
    stream.flush()
