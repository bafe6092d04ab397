"""Files of one's own: patterns of a card become files, each once."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pesloss.job.errors import PeslossError

MAGIC = "*?["


def why_not_a_file(path: Path) -> str | None:
    """Say why ``path`` is no file that can be read; None where it is one."""
    if not os.path.lexists(path):
        return "no such file"
    if path.is_dir():
        return "a folder; allowed: a file"
    if not path.exists():
        return "a link to a file that is not there"
    if not path.is_file():
        return "neither a file nor a folder"
    return None if os.access(path, os.R_OK) else "may not be read"


def matched(pattern: str) -> list[str]:
    """Return the files that a path or pattern of a card names, sorted.

    Parameters
    ----------
    pattern
        A file; a folder, for the files in it; or a pattern with ``*``, ``?``, ``[...]``, and ``**``
        for any folders. ``~`` is the home folder. Names that start with a dot are matched only
        where the pattern says so.

    Raises
    ------
    PeslossError
        When there is none, or one cannot be read.
    """
    wanted = os.path.expanduser(pattern)
    if os.path.isdir(wanted):
        found = sorted(glob.glob(os.path.join(glob.escape(wanted), "*")))
    elif os.path.lexists(wanted) or not any(sign in wanted for sign in MAGIC):
        return [_checked(wanted, pattern)]
    else:
        found = sorted(filter(os.path.lexists, set(glob.glob(wanted, recursive=True))))
    files = [_checked(path, pattern) for path in found if not os.path.isdir(path)]
    if not files:
        what = "no file in this folder" if os.path.isdir(wanted) else "no file matches"
        raise PeslossError(f"{pattern}: {what}")
    return files


def _checked(path: str, pattern: str) -> str:
    why = why_not_a_file(Path(path))
    if why:
        raise PeslossError(f"{path}: {why}" + ("" if path == pattern else f" (paths: {pattern})"))
    return path


def all_matched(patterns: Iterable[str]) -> list[str]:
    """Return the files of several patterns, in the order of the patterns.

    Raises
    ------
    PeslossError
        When one cannot be had (`matched`), or a file is there twice, be it as a link: its
        structures would count twice.
    """
    seen: dict[tuple[int, int], str] = {}
    return [_once(path, seen) for path in _each(patterns)]


def _each(patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        yield from matched(pattern)


def _once(path: str, seen: dict[tuple[int, int], str]) -> str:
    status = os.stat(path)
    place = (status.st_dev, status.st_ino)
    if place in seen:
        same = "is there twice" if seen[place] == path else f"is the same file as {seen[place]}"
        raise SameFileError(f"{path}: {same}; allowed: each file once")
    seen[place] = path
    return path


class SameFileError(PeslossError):
    """A file that a card names twice."""
