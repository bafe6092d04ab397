"""Readers of files of structures, one file for each format, found by file name.

Each has ``read(name, content, labels)``, which yields for every frame what ``labels.frame_of``
makes of it, and where there is something to say of the whole file a ``Note``, and raises a one-line
``PeslossError`` where the file as a whole cannot be read.
"""

from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from ase import Atoms

from pesloss.data.label_units import Labels
from pesloss.data.labels import Frame, LeftOut, Note
from pesloss.data.own_files import why_not_a_file
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.surroundings import pass_on

__all__ = ["Frame", "Labels", "LeftOut", "read", "reader_names"]


def reader_names() -> list[str]:
    """List the formats: the files of this folder."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


def check_format(format: str, where: str = "pesloss/data/readers") -> str:
    """Return the format.

    Raises
    ------
    PeslossError
        When no file of this folder reads it.
    """
    if format not in reader_names():
        raise wrong_value(where, "format", format, reader_names())
    return format


def read(
    content: Path | str | bytes,
    format: str,
    labels: Labels,
    name: str | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[list[Atoms], list[LeftOut]]:
    """Read every frame of a file.

    Parameters
    ----------
    content
        Path of the file, or its bytes.
    format
        One of ``reader_names()``.
    labels
        Keys and units of the labels.
    name
        What to call the file in sources and errors: different for different files. The file's own
        name when not given.
    note
        Told in a sentence what else there is to know: of two keys that differ in case alone, which
        one is read; units that the file's metadata mention.

    Returns
    -------
    The frames, as ``pesloss.data.labels.frame_of`` describes them, and those that cannot be read.

    Raises
    ------
    PeslossError
        One line: the format is unknown, or the file is missing, empty, truncated, foreign or
        without any frame that can be read (a key that no frame has is named with the keys there
        are).
    """
    check_format(format)
    given = content if isinstance(content, bytes) else Path(content)
    name = name or (given.name if isinstance(given, Path) else "bytes")
    if isinstance(given, Path) and (why := why_not_a_file(given)):
        raise PeslossError(f"{given}: {why}")
    found = _frames(given, format, labels, name)
    left_out = [item for item in found if isinstance(item, LeftOut)]
    labelled = [item for item in found if not isinstance(item, LeftOut | Note)]
    if not labelled:
        raise PeslossError(f"{name}: {_why_none(left_out)}")
    for item in found:
        if isinstance(item, Note):
            note(f"{name}: {item.text}")
    for remark, count in Counter(r for item in labelled for r in item.remarks).items():
        note(f"{name}: {remark}, in {count} of {len(found)} frames")
    return [item.atoms for item in labelled], left_out


def _frames(content: Path | bytes, format: str, labels: Labels, name: str) -> list[Frame]:
    reader = import_module(f"{__name__}.{format}")
    try:
        return list(reader.read(name, content, labels))
    except (PeslossError, MemoryError):
        raise
    except Exception as error:  # each format's library has its own exceptions
        pass_on(error, name)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise PeslossError(f"{name}: truncated or not {format} ({reason})") from None


def _why_none(left_out: list[LeftOut]) -> str:
    first = f"; the first, {left_out[0].source}: {left_out[0].reason}" if left_out else ""
    return f"none of {len(left_out)} frames can be read{first}"
