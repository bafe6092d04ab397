"""JSON list of PyXtal_FF: coords (fractional), lattice, elements. Keys: those of an entry."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from pesloss.data.label_units import Labels
from pesloss.data.labels import Frame, Raw, frame_of
from pesloss.data.readers._content import Content, list_of


def read(name: str, content: Content, labels: Labels) -> Iterator[Frame]:
    """Yield the entries; see ``pesloss.data.readers``."""
    for index, entry in enumerate(list_of(name, content)):
        yield frame_of(name, f"@{index}", partial(_parsed, entry), labels)


def _parsed(entry: Any) -> Raw:
    atoms = Atoms(
        entry["elements"],
        scaled_positions=_array(entry["coords"]),
        cell=_array(entry["lattice"]),
        pbc=True,
    )
    values = {key: entry[key] for key in entry if key not in ("coords", "lattice", "elements")}
    return Raw(atoms, values, values)


def _array(stored: Any) -> npt.NDArray[np.float64]:
    """Return an array stored as a list, or by monty as a mapping with the list under data."""
    return np.array(stored["data"] if isinstance(stored, dict) else stored, dtype=np.float64)
