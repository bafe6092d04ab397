"""Geometries that no neighbour list should be asked for: seen in bounded time, said in words."""

from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii
from matscipy.neighbours import neighbour_list

__all__ = ["listed", "near_pairs", "overlap", "serves_as_box", "unfit_cell", "unfit_species"]

Floats = npt.NDArray[np.float64]
FARTHEST = 1e6  # Å, of a coordinate; further out rounding shows in distances
LEAST_VOLUME = 0.1  # Å³ per atom; hydrogen under 1 TPa has about 1
LEAST_HEIGHT = 0.1  # Å, of a periodic cell between opposite faces
CROWD = 2.0  # Å, side of the cubes in which atoms are counted
CROWDED = 100.0  # atoms in the cube of an average atom
MOST_BINS = 3e7  # of a neighbour list; about a second
MOST_WORK = 1e8  # distances a neighbour list looks at; a few seconds
N_ELEMENTS = 118


def unfit_species(atoms: Atoms) -> str | None:
    """Name the first atom that is of no element, such as a ghost atom X."""
    wrong = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers > N_ELEMENTS))
    if not len(wrong):
        return None
    number = int(atoms.numbers[wrong[0]])
    kind = "X, a ghost atom (atomic number 0)" if number == 0 else f"of atomic number {number}"
    more = f" ({len(wrong)} such atoms)" if len(wrong) > 1 else ""
    return f"atom {wrong[0]} is {kind}; allowed: elements 1 to {N_ELEMENTS}{more}"


def unfit_cell(atoms: Atoms, cutoff: float) -> str | None:
    """Say why neighbours within ``cutoff`` (Å) cannot be listed; the cost is linear in the atoms.

    Coordinates or a cell that are not finite, a periodic cell that is missing, singular or nearly
    so, too small for its atoms, too large or too skewed, and atoms that are all in one place.
    """
    for array, name in ((atoms.positions, "position"), (atoms.cell.array, "cell")):
        reason = _unfit_numbers(array, name)
        if reason:
            return reason
    if not atoms.pbc.any():
        spread = np.ptp(atoms.positions, axis=0) + 2 * cutoff
        return _too_large(spread, cutoff) or _crowded(atoms.positions)
    if atoms.cell.rank < 3:
        return f"periodic, but with {atoms.cell.rank} cell vectors instead of three"
    return (
        _flat(atoms)
        or _too_large(heights(atoms.cell.array), cutoff)
        or _too_many_images(atoms, cutoff)
        or _crowded(_wrapped(atoms))
    )


def _unfit_numbers(array: Floats, name: str) -> str | None:
    place = int(np.argmin(np.isfinite(array).all(axis=1)))
    which = f"the position of atom {place}" if name == "position" else "the cell"
    if not np.isfinite(array).all():
        return f"{which} is not finite"
    largest = np.abs(array).max()
    if largest > FARTHEST:
        return f"a {name} has a coordinate of {largest:.4g} Å; allowed: up to {FARTHEST:g}"
    return None


def heights(cell: Floats) -> Floats:
    """Return the distances (3,) between opposite faces of a cell; zero where it is singular."""
    faces = np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]])
    areas = np.linalg.norm(faces, axis=1)
    volume = abs(float(np.linalg.det(cell)))
    return np.asarray(np.divide(volume, areas, out=np.zeros(3), where=areas > 0), dtype=np.float64)


def _flat(atoms: Atoms) -> str | None:
    across = heights(atoms.cell.array)
    thinnest, volume = int(across.argmin()), abs(float(np.linalg.det(atoms.cell.array)))
    if across[thinnest] < LEAST_HEIGHT:
        return (
            f"the cell is singular or nearly so: {across[thinnest]:.3g} Å high along vector "
            f"{thinnest + 1}, volume {volume:.3g} Å³; allowed: heights from {LEAST_HEIGHT:g} Å"
        )
    if volume < LEAST_VOLUME * len(atoms):
        return (
            f"the cell has {volume / len(atoms):.3g} Å³ per atom; allowed: from {LEAST_VOLUME:g} Å³"
        )
    return None


def _too_large(lengths: Floats, cutoff: float) -> str | None:
    if np.prod(np.maximum(lengths / cutoff, 1.0)) <= MOST_BINS:
        return None
    sides = " × ".join(f"{side:.4g}" for side in lengths)
    return f"the box of {sides} Å is too large to look for neighbours within {cutoff:g} Å"


def _too_many_images(atoms: Atoms, cutoff: float) -> str | None:
    """Estimate the distances that a list of cells looks at: bins, their neighbours, atoms in each.

    Cells are at least ``cutoff`` wide, and one where the cell is narrower.
    """
    across = heights(atoms.cell.array)
    bins = np.maximum(np.floor(across / cutoff), 1.0)
    around = np.prod(2 * np.ceil(cutoff * bins / across) + 1)
    if len(atoms) ** 2 / np.prod(bins) * around <= MOST_WORK:
        return None
    sides = ", ".join(f"{side:.3g}" for side in across)
    return (
        f"the cell is too narrow for {len(atoms)} atoms: {sides} Å between its faces, so that "
        f"{around:.0f} images lie within {cutoff:g} Å"
    )


def _wrapped(atoms: Atoms) -> Floats:
    inside: Floats = atoms.get_positions(wrap=True)
    return inside


def _crowded(positions: Floats) -> str | None:
    """Tell when neighbours would be as many as pairs: atoms in one place."""
    if len(positions) <= CROWDED:
        return None
    cubes = np.floor((positions - positions.min(axis=0)) / CROWD)
    count = np.unique(cubes, axis=0, return_counts=True)[1]
    if (count.astype(float) ** 2).sum() <= CROWDED * len(positions):
        return None
    return f"{count.max()} atoms in a cube of {CROWD:g} Å"


def serves_as_box(cell: Floats, cutoff: float) -> bool:
    """Tell whether a neighbour list of a molecule may use its own cell."""
    across = heights(cell)
    return bool(across.min() >= LEAST_HEIGHT) and _too_large(across, cutoff) is None


def listed(quantities: str, atoms: Atoms, cutoff: float, boxed: bool) -> tuple[Any, ...]:
    """Return ``quantities`` of matscipy's neighbour list, of all pairs within ``cutoff``, Å.

    Parameters
    ----------
    quantities, atoms, cutoff
        As matscipy has them; of atoms for which `unfit_cell` has nothing to say.
    boxed
        Whether to put a molecule into a box of its size: the list needs one, and without
        periodicity any around the atoms will do.
    """
    cell, positions = atoms.cell.array, atoms.positions
    if boxed:
        positions = positions - positions.min(axis=0) + cutoff
        cell = np.diag(np.ptp(atoms.positions, axis=0) + 2 * cutoff)
    found: tuple[Any, ...] = neighbour_list(
        quantities,
        cutoff=cutoff,
        positions=positions,
        cell=cell,
        pbc=atoms.pbc,
        numbers=atoms.numbers.astype(np.int32),
    )
    return found


def near_pairs(
    atoms: Atoms, cutoff: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Return centres, neighbours and distances (P,) of all pairs within ``cutoff``, Å.

    Of atoms for which `unfit_cell` has nothing to say.
    """
    centre, neighbour, distance = listed("ijd", atoms, cutoff, boxed=not atoms.pbc.any())
    return centre, neighbour, distance


def overlap(atoms: Atoms, share: float) -> str | None:
    """Name the closest two atoms within ``share`` of the sum of their covalent radii.

    Radii are those of Cordero et al., Dalton Trans. 2832 (2008), as ASE has them.
    """
    radii = covalent_radii[atoms.numbers]
    reach = 2 * share * float(radii.max())
    first, second, distance = near_pairs(atoms, max(reach, 1.0))
    if not len(distance):
        return None
    relative = distance / (radii[first] + radii[second])
    closest = int(relative.argmin())
    if relative[closest] >= share:
        return None
    i, j = int(first[closest]), int(second[closest])
    pair = f"atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]})"
    if i == j:
        pair = f"atom {i} ({atoms.symbols[i]}) and its own image"
    return (
        f"{pair} are {distance[closest]:.4g} Å apart, {relative[closest]:.2g} of the sum of their "
        f"covalent radii; min_distance is {share:g}"
    )
