"""Molecules by construction: homologous series and clusters packed without overlap."""

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2
from ase.data import vdw_radii
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

CC, CH, CC_DOUBLE, CC_SINGLE, SI_H = 1.53, 1.09, 1.35, 1.45, 1.48  # bond lengths, Å
TETRAHEDRAL = np.arccos(-1.0 / 3.0)
STEP = 0.2  # Å, of the search for a free place
Points = npt.NDArray[np.float64]


def small_molecules(elements: tuple[str, ...], smallest: int, largest: int) -> list[str]:
    """List the closed-shell molecules of ASE's g2 set made of ``elements``, by size and name."""
    found = []
    for name in g2.names:
        atoms = g2[name]
        closed = not np.any(atoms.get_initial_magnetic_moments())
        if closed and set(atoms.get_chemical_symbols()) <= set(elements):
            found.append((len(atoms), name))
    return [name for size, name in sorted(found) if smallest <= size <= largest]


def alkane(n_carbon: int) -> Atoms:
    """Build the all-trans alkane C(n)H(2n+2)."""
    half = TETRAHEDRAL / 2
    index = np.arange(n_carbon)
    carbon = np.zeros((n_carbon, 3))
    carbon[:, 0] = index * CC * np.sin(half)
    carbon[:, 2] = (index % 2) * CC * np.cos(half)
    up = np.where(index % 2, 1.0, -1.0)
    sides = []
    for sign in (-1.0, 1.0):
        side = np.zeros((n_carbon, 3))
        side[:, 1], side[:, 2] = sign * np.sin(half), up * np.cos(half)
        sides.append(carbon + CH * side)
    ends = [
        carbon[0] + CH * np.array([-np.sin(half), 0.0, np.cos(half)]),
        carbon[-1] + CH * np.array([np.sin(half), 0.0, -up[-1] * np.cos(half)]),
    ]
    return Atoms(f"C{n_carbon}H{2 * n_carbon + 2}", np.vstack([carbon, *sides, ends]))


def polyene(n_double: int) -> Atoms:
    """Build the planar all-trans polyene C(2n)H(2n+2) with ``n_double`` double bonds."""
    n_carbon = 2 * n_double
    lengths = np.where(np.arange(n_carbon - 1) % 2, CC_SINGLE, CC_DOUBLE)
    turns = np.where(np.arange(n_carbon - 1) % 2, -1.0, 1.0) * np.pi / 6
    steps = lengths[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    carbon = np.zeros((n_carbon, 3))
    carbon[1:, :2] = np.cumsum(steps, axis=0)
    hydrogen = carbon.copy()
    hydrogen[:, 1] += np.where(np.arange(n_carbon) % 2, CH, -CH)
    before = np.array([-np.cos(np.pi / 6), np.sin(np.pi / 6), 0.0])
    ends = [carbon[0] + CH * before, carbon[-1] - CH * before]
    return Atoms(f"C{n_carbon}H{n_carbon + 2}", np.vstack([carbon, hydrogen, ends]))


def silane(n_silicon: int, rng: np.random.Generator) -> Atoms:
    """Grow a piece of about ``n_silicon`` atoms of the diamond lattice, ended by hydrogen.

    A vacant site with two or more silicon neighbours becomes silicon, so that no two hydrogens
    share a site: the piece may come out larger than asked for.
    """
    sites, bonds = _diamond()
    inside = {int(np.argmin(np.linalg.norm(sites, axis=1)))}
    while True:
        contacts = [j for i in sorted(inside) for j in bonds[i] if j not in inside]
        shared = sorted({j for j in contacts if contacts.count(j) > 1})
        if shared:
            inside.add(shared[0])
        elif len(inside) < n_silicon:
            inside.add(contacts[int(rng.integers(len(contacts)))])
        else:
            return _passivated(sites, bonds, sorted(inside))


def _diamond() -> tuple[Points, list[list[int]]]:
    crystal = bulk("Si", "diamond", a=5.43, cubic=True) * (6, 6, 6)
    sites = crystal.positions - crystal.positions.mean(axis=0)
    near = cKDTree(sites).query_ball_point(sites, 2.4)
    return sites, [[j for j in sorted(js) if j != i] for i, js in enumerate(near)]


def _passivated(sites: Points, bonds: list[list[int]], inside: list[int]) -> Atoms:
    ends = [(i, j) for i in inside for j in bonds[i] if j not in inside]
    away = np.array([sites[j] - sites[i] for i, j in ends])
    away *= SI_H / np.linalg.norm(away, axis=1, keepdims=True)
    hydrogen = sites[[i for i, _ in ends]] + away
    return Atoms(f"Si{len(inside)}H{len(ends)}", np.vstack([sites[inside], hydrogen]))


def packed(
    parts: list[Atoms], rng: np.random.Generator, closeness: float, min_distance: float
) -> Atoms:
    """Pack molecules at random orientations into a cluster.

    Each in turn moves outwards from the centre of the others, in a random direction, to the first
    place where every distance to their atoms is at least ``closeness`` times the sum of the van
    der Waals radii, and at least ``min_distance`` (Å).
    """
    cluster = _turned(parts[0], rng)
    for part in parts[1:]:
        added = _turned(part, rng)
        apart = closeness * (_radii(cluster)[:, None] + _radii(added)[None, :])
        apart = np.maximum(apart, min_distance)
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        added.positions += cluster.positions.mean(axis=0)
        while np.any(cdist(cluster.positions, added.positions) < apart):
            added.positions += STEP * direction
        cluster += added
    return cluster


def _radii(atoms: Atoms) -> Points:
    return np.asarray(vdw_radii[atoms.numbers], dtype=float)


def _turned(part: Atoms, rng: np.random.Generator) -> Atoms:
    centred = part.positions - part.positions.mean(axis=0)
    quaternion = rng.normal(size=4)
    return Atoms(part.symbols, Rotation.from_quat(quaternion).apply(centred))


def named(name: str) -> Atoms:
    """Return a molecule of the g2 set without its magnetic moments."""
    found = molecule(name)
    return Atoms(found.symbols, found.positions)
