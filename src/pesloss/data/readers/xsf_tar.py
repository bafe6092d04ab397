"""Tar, plain or gzipped, of XSF files as aenet's.

Keys: ``forces``, and the names in comments such as ``# total energy = -1.5 eV``. A comment's unit
has to be that of the card.
"""

import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import ase.io
import numpy as np
from ase import units

from pesloss.data.archives import members
from pesloss.data.label_units import Labels
from pesloss.data.labels import BadFrame, Frame, Raw, frame_of
from pesloss.data.readers import _content
from pesloss.data.readers._content import Content, path_of
from pesloss.job.errors import PeslossError

COMMENT = re.compile(r"^#\s*([^=\n]*?)\s*=\s*(\S+)[ \t]*(\S*)", re.MULTILINE)


def read(name: str, content: Content, labels: Labels) -> Iterator[Frame]:
    """Yield the XSF files in the order of their names; see ``pesloss.data.readers``."""
    with path_of(content) as path:
        try:
            found = [pair for pair in members(path, _content.MAX_UNPACKED) if _is_xsf(pair[0])]
        except PeslossError as error:
            raise PeslossError(f"{name}: {str(error).removeprefix(f'{path}: ')}") from None
    for member, text in found:
        parsed = partial(_parsed, text, PurePosixPath(member).stem, labels)
        yield frame_of(name, f"/{member}", parsed, labels)


def _is_xsf(member: str) -> bool:
    return member.endswith(".xsf")


def _parsed(content: bytes, stem: str, labels: Labels) -> Raw:
    text = content.decode("utf-8")
    values = {}
    for key, value, unit in COMMENT.findall(text):
        if key == labels.energy and unit and unit != labels.energy_unit:
            raise BadFrame(f"{key} is in {unit!r}, energy_unit is {labels.energy_unit!r}")
        values[key] = value
    atoms: Any = ase.io.read(io.StringIO(text), index=0, format="xsf")
    if atoms.calc is not None:
        # ASE takes forces for Hartree/Å, the unit of XSF's definition; the card has the last word
        values["forces"] = np.asarray(atoms.calc.results["forces"]) / units.Hartree
    return Raw(atoms, values, {"group": stem})
