"""Supercells and strains."""

from typing import Any

import numpy as np
from ase import Atoms

MAX_SIDE = 4


def boxes(n_cells: int, max_side: int = MAX_SIDE) -> list[tuple[int, int, int]]:
    """List the repeats (i ≤ j ≤ k ≤ ``max_side``, k ≤ 3i) of the most, up to ``n_cells``, cells."""
    sides = range(1, max_side + 1)
    shapes = [
        (i, j, k)
        for i in sides
        for j in sides
        for k in sides
        if i <= j <= k <= 3 * i and i * j * k <= n_cells
    ]
    most = max(np.prod(shape) for shape in shapes)
    return [shape for shape in shapes if np.prod(shape) == most]


def strained(base: Atoms, rng: np.random.Generator, amplitude: float) -> Atoms:
    """Return a copy strained by a symmetric tensor of normal components.

    Parameters
    ----------
    base
        Periodic or not; positions and cell are deformed together.
    rng
        Source of the six components.
    amplitude
        Standard deviation of the diagonal components; the others have half of it.
    """
    draws = amplitude * rng.standard_normal((3, 3))
    deformation: Any = np.eye(3) + np.diag(np.diag(draws)) + (np.tril(draws, -1) / 2)
    deformation += np.tril(draws, -1).T / 2
    return Atoms(
        base.symbols,
        base.positions @ deformation,
        cell=base.cell.array @ deformation,
        pbc=base.pbc,
    )
