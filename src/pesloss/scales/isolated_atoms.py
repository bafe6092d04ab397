"""Isolated atoms among structures: no scale is fitted to them."""

import numpy as np
from ase import Atoms
from ase.geometry.minkowski_reduction import minkowski_reduce

NAMED = "isolatedatom"
OF_FILES = ("source", "file")  # the name of a file says nothing of each of its frames
NEAREST_IMAGE = 6.0  # Å; nearest neighbours in the widest metal, caesium, are 5.3 Å apart


def is_isolated(atoms: Atoms) -> bool:
    """Tell whether a frame is an isolated atom.

    A frame of one atom is when a text in its ``info`` (``config_type`` or any other) says
    IsolatedAtom, however it is written, when it is not periodic, or when it is further than 6 Å
    from its nearest image. The primitive cell of a crystal is not.
    """
    return len(atoms) == 1 and (_named(atoms) or _far_from_images(atoms))


def _named(atoms: Atoms) -> bool:
    texts = (v for key, v in atoms.info.items() if isinstance(v, str) and key not in OF_FILES)
    return any(NAMED in "".join(filter(str.isalpha, text.lower())) for text in texts)


def _far_from_images(atoms: Atoms) -> bool:
    vectors = atoms.cell.array[atoms.pbc]
    if not len(vectors):
        return True
    if not np.isfinite(vectors).all() or np.linalg.matrix_rank(vectors) < len(vectors):
        return False
    try:
        reduced = minkowski_reduce(atoms.cell.array, atoms.pbc)[0]
    except (RuntimeError, np.linalg.LinAlgError):  # a lattice too close to singular to reduce
        return False
    return bool(np.linalg.norm(reduced[atoms.pbc], axis=1).min() > NEAREST_IMAGE)
