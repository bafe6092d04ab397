"""Readers of files of structures, one file for each format, found by file name.

Each has ``read(name, content, labels)``, which yields an ``Atoms`` in eV and Å or a ``LeftOut`` for
every frame, and raises a one-line ``PeslossError`` where the file as a whole cannot be read.
"""

from importlib import import_module
from pathlib import Path

from ase import Atoms

from pesloss.data.labels import Frame, Labels, LeftOut
from pesloss.errors import PeslossError, wrong_value
from pesloss.surroundings import pass_on

__all__ = ["Frame", "Labels", "LeftOut", "read", "reader_names"]


def reader_names() -> list[str]:
    """List the formats: the files of this folder."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


def read(
    content: Path | str | bytes, format: str, labels: Labels, name: str | None = None
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

    Returns
    -------
    The frames, as ``pesloss.data.labels.frame_of`` describes them, and those that cannot be read.

    Raises
    ------
    PeslossError
        One line: the format is unknown, or the file is missing, truncated, foreign or without any
        frame that can be read (a key that no frame has is named with the keys there are).
    """
    if format not in reader_names():
        raise wrong_value("pesloss/data/readers", "format", format, reader_names())
    path = None if isinstance(content, bytes) else Path(content)
    name = name or (path.name if path is not None else "bytes")
    if path is not None and not path.is_file():
        raise PeslossError(f"{path}: no such file")
    reader = import_module(f"{__name__}.{format}")
    frames: list[Atoms] = []
    left_out: list[LeftOut] = []
    try:
        for frame in reader.read(name, content if path is None else path, labels):
            (left_out if isinstance(frame, LeftOut) else frames).append(frame)
    except PeslossError:
        raise
    except Exception as error:  # each format's library has its own exceptions
        pass_on(error, name)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise PeslossError(f"{name}: truncated or not {format} ({reason})") from None
    if not frames:
        first = f"; the first, {left_out[0].source}: {left_out[0].reason}" if left_out else ""
        raise PeslossError(f"{name}: none of {len(left_out)} frames can be read{first}")
    return frames, left_out
