"""HDF5 of ANI and COMP6: groups with coordinates [n, N, 3] and species [N].

Keys: the group's datasets with one entry for each of the n frames.
"""

import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import h5py
import numpy as np
from ase import Atoms

from pesloss.data.label_units import Labels
from pesloss.data.labels import BadFrame, Frame, Raw, frame_of
from pesloss.data.readers._content import Content, bytes_of, check_size


def read(name: str, content: Content, labels: Labels) -> Iterator[Frame]:
    """Yield the frames of every group; see ``pesloss.data.readers``."""
    with h5py.File(io.BytesIO(bytes_of(name, content)), "r") as file:
        for group in _groups(file):
            arrays = _arrays(name, group)
            n_frames = len(arrays["coordinates"])
            for index in range(n_frames):
                yield frame_of(
                    name,
                    f"{group.name}@{index}",
                    partial(_parsed, arrays, index, group.name),
                    labels,
                )


def _groups(file: h5py.File) -> list[h5py.Group]:
    found: list[h5py.Group] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and {"coordinates", "species"} <= set(item):
            found.append(item)

    visit("/", file)
    file.visititems(visit)
    return found


def _arrays(name: str, group: h5py.Group) -> dict[str, np.ndarray[Any, Any]]:
    arrays = {}
    for key in group:
        # soft and external links, external storage and virtual datasets can name other files
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            continue
        item = group[key]
        if isinstance(item, h5py.Dataset) and item.external is None and not item.is_virtual:
            check_size(f"{name}{group.name}/{key}", item.size * item.dtype.itemsize)
            arrays[key] = np.asarray(item[()])
    return arrays


def _parsed(arrays: dict[str, np.ndarray[Any, Any]], index: int, path: str) -> Raw:
    coordinates, species = arrays["coordinates"], arrays["species"]
    if coordinates.shape[1:] != (len(species), 3):
        raise BadFrame(f"{len(species)} species, but coordinates of shape {coordinates.shape}")
    symbols = [item.decode() if isinstance(item, bytes) else item for item in species]
    values = {
        key: array[index]
        for key, array in arrays.items()
        if key not in ("coordinates", "species") and array.shape[:1] == coordinates.shape[:1]
    }
    return Raw(Atoms(symbols, np.asarray(coordinates[index], dtype=float)), values, {"group": path})
