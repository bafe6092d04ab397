"""Tar, plain or gzipped, of XSF files as aenet's.

Keys: ``forces``, and the names in comments such as ``# total energy = -1.5 eV``. A comment's unit
has to be that of the card.
"""

import io
import re
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import ase.io
import numpy as np
from ase import units

from pesloss.data.labels import BadFrame, Frame, Labels, Raw, frame_of
from pesloss.data.readers._content import Content, bytes_of, check_size
from pesloss.errors import PeslossError

COMMENT = re.compile(r"^#\s*([^=\n]*?)\s*=\s*(\S+)[ \t]*(\S*)", re.MULTILINE)

END = bytes(2 * tarfile.BLOCKSIZE)


def read(name: str, content: Content, labels: Labels) -> Iterator[Frame]:
    """Yield the XSF files in the order of their names; see ``pesloss.data.readers``."""
    for member, text in sorted(_members(name, bytes_of(name, content)).items()):
        yield frame_of(
            name,
            f"/{member}",
            partial(_parsed, text, PurePosixPath(member).stem, labels),
            labels,
        )


def _members(name: str, packed: bytes) -> dict[str, bytes]:
    """Return the XSF files; nothing is written to disk."""
    members: dict[str, bytes] = {}
    if not packed.endswith(END):  # tarfile takes the end of the bytes for the end of the archive
        raise PeslossError(f"{name}: truncated or not a tar archive (its end is missing)")
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
            for member in archive:
                _check(name, member)
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None and member.name.endswith(".xsf"):
                    members[member.name] = stream.read()
                    check_size(name, sum(map(len, members.values())))
    except (tarfile.TarError, EOFError) as error:
        raise PeslossError(f"{name}: truncated or not a tar archive ({error})") from None
    return members


def _check(name: str, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise PeslossError(f"{name}: holds a path outside its folder ({member.name!r})")
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise PeslossError(f"{name}: holds something that is no plain file ({member.name!r})")
    check_size(name, member.size)


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
