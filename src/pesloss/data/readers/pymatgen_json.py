"""JSON list of pymatgen structures with ``outputs``. Keys: those of ``outputs``."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms

from pesloss.data.label_units import Labels
from pesloss.data.labels import BadFrame, Frame, Raw, frame_of
from pesloss.data.readers._content import Content, list_of


def read(name: str, content: Content, labels: Labels) -> Iterator[Frame]:
    """Yield the entries; see ``pesloss.data.readers``."""
    for index, entry in enumerate(list_of(name, content)):
        yield frame_of(name, f"@{index}", partial(_parsed, entry), labels)


def _parsed(entry: Any) -> Raw:
    structure = entry["structure"]
    sites = structure["sites"]
    if entry.get("num_atoms", len(sites)) != len(sites):
        raise BadFrame(f"num_atoms is {entry['num_atoms']}, there are {len(sites)} sites")
    atoms = Atoms(
        [_element(site) for site in sites],
        scaled_positions=np.array([site["abc"] for site in sites], dtype=float),
        cell=np.array(structure["lattice"]["matrix"], dtype=float),
        pbc=True,
    )
    extras = {key: entry[key] for key in entry if key not in ("structure", "outputs")}
    return Raw(atoms, entry["outputs"], extras)


def _element(site: Any) -> str:
    species = site["species"]
    if len(species) != 1 or species[0]["occu"] != 1:
        raise BadFrame("a site is shared by several elements or partly empty")
    return str(species[0]["element"])
