"""Extended XYZ, plain or gzipped. Keys: those of the comment line, and the columns' names."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import ase.io

from pesloss.data.label_units import Labels
from pesloss.data.labels import BadFrame, Frame, Raw, frame_of
from pesloss.data.readers._content import Content, text_of
from pesloss.job.errors import PeslossError


def read(name: str, content: Content, labels: Labels) -> Iterator[Frame]:
    """Yield the frames; see ``pesloss.data.readers``."""
    for index, text in enumerate(_texts(name, text_of(name, content))):
        yield frame_of(name, f"@{index}", partial(_parsed, text, labels), labels)


def _texts(name: str, text: str) -> Iterator[str]:
    """Cut a file into its frames; each keeps the end of its last line, if that has one."""
    lines = list(io.StringIO(text))
    place = 0
    while place < len(lines):
        if not lines[place].strip():
            place += 1
            continue
        end = place + 2 + _n_atoms(name, place, lines[place])
        if end > len(lines):
            raise PeslossError(
                f"{name}: truncated: line {place + 1} announces {end - place - 2} atoms, "
                f"the file ends after {max(len(lines) - place - 2, 0)}"
            )
        yield "".join(lines[place:end])
        place = end


def _n_atoms(name: str, place: int, line: str) -> int:
    if not line.strip().isdecimal() or int(line) == 0:
        raise PeslossError(
            f"{name}: truncated or not extended XYZ (line {place + 1} is {line.strip()[:40]!r}; "
            "allowed: a number of atoms)"
        )
    return int(line)


def _parsed(text: str, labels: Labels) -> Raw:
    if not text.endswith("\n"):
        raise BadFrame("the last line has no end: it may be cut off")
    _check_once(text.split("\n", 2)[1], labels)
    try:
        atoms: Any = ase.io.read(io.StringIO(text), index=0, format="extxyz")
    except KeyError as error:
        raise BadFrame(f"unknown element or property {error.args[0]!r}") from None
    results = atoms.calc.results if atoms.calc is not None else {}
    columns = {
        key: atoms.arrays[key] for key in atoms.arrays if key not in ("numbers", "positions")
    }
    return Raw(atoms, {**atoms.info, **columns, **results}, atoms.info)


def _check_once(comment: str, labels: Labels) -> None:
    """Refuse a label that is given twice: ASE would take the last."""
    plain = re.sub(r'"[^"]*"|\'[^\']*\'|\{[^}]*\}|\[[^]]*\]', "", comment)
    counts = Counter(re.findall(r"(\S+?)\s*=", plain))
    for key in filter(None, (labels.energy, labels.stress)):
        if counts[key] > 1:
            raise BadFrame(f"key {key!r} is there {counts[key]} times")
