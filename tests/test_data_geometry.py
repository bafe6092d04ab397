"""Geometries that no neighbour list can serve are named, each in bounded time."""

import time
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from test_data_checks import check_structures

from pesloss.data.checks import checked
from pesloss.data.geometry import heights, overlap, unfit_cell
from pesloss.data.graphs import build_graphs
from pesloss.job.errors import PeslossError

CUTOFF = 5.0


def labelled(atoms: Atoms, name: str = "bad") -> Atoms:
    copy: Atoms = atoms.copy()
    copy.calc = SinglePointCalculator(copy, energy=-1.0, forces=np.zeros((len(copy), 3)))
    copy.info = {"source": name, "structure": name} | copy.info
    return copy


def good() -> Atoms:
    return labelled(bulk("Si", cubic=True), "good")


def cell_of(*vectors: Any, n: int = 2, pbc: Any = True) -> Atoms:
    scaled = np.random.default_rng(0).random((n, 3))
    atoms: Atoms = Atoms("Si" * n, scaled @ np.array(vectors, float), cell=vectors, pbc=pbc)
    return atoms


def scattered(n: int, side: float) -> Atoms:
    atoms: Atoms = Atoms("C" * n, np.random.default_rng(1).random((n, 3)) * side)
    return atoms


def ghost(number: int) -> Atoms:
    atoms: Atoms = molecule("H2O")
    atoms.numbers[1] = number
    return atoms


CASES: list[tuple[Atoms, str, str]] = [
    (ghost(0), "species", "atom 1 is X, a ghost atom (atomic number 0); allowed: elements 1 to"),
    (ghost(119), "species", "atom 1 is of atomic number 119"),
    (cell_of([5, 0, 0], [0, 5, 0], [5, 5, 0]), "geometry", "singular or nearly so: 0 Å high"),
    (cell_of([5, 0, 0], [0, 5, 0], [5, 5, 1e-9]), "geometry", "singular or nearly so: 1e-09"),
    (cell_of([5, 0, 0], [0, 5, 0], [5, 5, 1e-2]), "geometry", "singular or nearly so: 0.01 Å high"),
    (cell_of([5, 0, 0], [0, 5, 0], [5e5, 5, 5]), "geometry", "singular or nearly so"),
    (cell_of([0.05, 0, 0], [0, 0.05, 0], [0, 0, 0.05], n=1), "geometry", "0.05 Å high along"),
    (cell_of([0.05, 0, 0], [0, 9, 0], [0, 0, 9], n=4), "geometry", "0.05 Å high along vector 1"),
    (cell_of([0.4, 0, 0], [0, 0.4, 0], [0, 0, 0.4], n=4), "geometry", "0.016 Å³ per atom"),
    (cell_of([20, 0, 120], [560, 140, 20], [460, 120, -100], n=300), "geometry", "too narrow for"),
    (cell_of([0, 0, 0], [0, 0, 0], [0, 0, 0]), "geometry", "periodic, but with 0 cell vectors"),
    (cell_of([5, 0, 0], [0, 5, 0], [0, 0, 0], pbc=(1, 1, 0)), "geometry", "with 2 cell vectors"),
    (cell_of([1e5, 0, 0], [0, 1e5, 0], [0, 0, 1e5]), "geometry", "too large to look for neighb"),
    (cell_of([1e9, 0, 0], [0, 5, 0], [0, 0, 5]), "geometry", "allowed: up to 1e+06"),
    (Atoms("C2", [[0, 0, 0], [0, 0, 1e300]]), "geometry", "a position has a coordinate of 1e+300"),
    (Atoms("C2", [[0, 0, 0], [0, 0, np.nan]]), "geometry", "position of atom 1 is not finite"),
    (Atoms("C2", [[0, 0, 0], [9e5, 9e5, 9e5]]), "geometry", "too large to look for neighbours"),
    (Atoms("C3000", np.zeros((3000, 3))), "geometry", "3000 atoms in a cube of 2 Å"),
    (scattered(20000, 3.0), "geometry", "atoms in a cube of 2 Å"),
    (Atoms("C2", np.zeros((2, 3))), "overlap", "atoms 0 (C) and 1 (C) are 0 Å apart"),
    (Atoms("CO", [[0, 0, 0], [0, 0, 0.1]]), "overlap", "are 0.1 Å apart, 0.07 of the sum"),
    (
        Atoms("C2", [[0, 0, 0], [0, 0, 5.0]], cell=np.eye(3) * 5, pbc=True),
        "overlap",
        "atoms 0 (C) and 1 (C) are 0 Å apart",
    ),
    (
        Atoms("W", cell=np.diag([0.3, 9.0, 9.0]), pbc=True),
        "overlap",
        "atom 0 (W) and its own image are 0.3 Å apart, 0.093 of the sum",
    ),
]


@pytest.mark.parametrize(("atoms", "check", "reason"), CASES)
def test_bad_geometries_are_named_in_bounded_time(atoms: Atoms, check: str, reason: str) -> None:
    started = time.perf_counter()
    kept, left_out = check_structures([labelled(atoms), good()])
    assert time.perf_counter() - started < 2
    assert [a.info["source"] for a in kept] == ["good"]
    assert left_out.source.tolist() == ["bad"]
    assert left_out.check.tolist() == [check]
    assert reason in left_out.reason[0]


@pytest.mark.parametrize(("atoms", "check", "reason"), [c for c in CASES if c[1] == "geometry"])
def test_graphs_refuse_the_same_geometries_in_bounded_time(
    atoms: Atoms, check: str, reason: str
) -> None:
    started = time.perf_counter()
    with pytest.raises(PeslossError, match="structure bad: "):
        build_graphs([labelled(atoms)], CUTOFF)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    "atoms",
    [
        molecule("H2"),
        graphene(vacuum=20.0),
        bulk("Cu", "fcc", a=3.6),
        bulk("Cs", "bcc", a=5.3).repeat((2, 1, 1)),
        bulk("Si", cubic=True).repeat(5),
        Atoms("H2", [[0, 0, 0], [0, 0, 0.3]]),
        Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], cell=np.eye(3) * 200.0, pbc=True),
        Atoms("H", cell=np.diag([0.8, 12.0, 12.0]), pbc=True, info={"config_type": "chain"}),
        cell_of([5, 0, 0], [0, 5, 0], [20, 15, 5], n=2),
        Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], cell=np.ones((3, 3))),
        Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], cell=np.eye(3) * 1e5),
    ],
)
def test_unusual_but_sound_geometries_pass(atoms: Atoms) -> None:
    assert unfit_cell(atoms, CUTOFF) is None
    assert overlap(atoms, 0.15) is None
    graphs = build_graphs([labelled(atoms)], CUTOFF)
    assert graphs.n_pairs[0] > 0


def test_heights_are_distances_between_faces() -> None:
    assert np.allclose(heights(np.diag([2.0, 3.0, 4.0])), [2, 3, 4])
    assert np.allclose(heights(np.array([[2.0, 0, 0], [7.0, 3.0, 0], [0, 0, 4.0]])), [
        2 * 3 / np.hypot(7, 3), 3, 4,
    ])  # fmt: skip
    assert np.array_equal(heights(np.ones((3, 3))), [0, 0, 0])


def with_state(name: str, **info: Any) -> Atoms:
    atoms = labelled(molecule("H2O"), name)
    atoms.info.update(info)
    return atoms


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({}, {}, True),
        ({"charge": 0}, {"charge": 1}, False),
        ({"total_charge": "0"}, {"total_charge": 1.0}, False),
        ({}, {"Charge": -1}, False),
        ({}, {"charge": 0}, True),
        ({"charge": 1}, {"charge": 1.0}, True),
        ({"charge": 1}, {"total_charge": 1}, True),
        ({"spin": 1}, {"spin": 3}, False),
        ({"multiplicity": 1}, {"multiplicity": 3}, False),
        ({"charge": 1, "note": "a"}, {"charge": 1, "note": "b"}, True),
    ],
)
def test_charge_and_spin_make_structures_different(
    first: dict[str, Any], second: dict[str, Any], same: bool
) -> None:
    result = checked([with_state("a", **first), with_state("b", **second)])
    assert len(result.kept) == (1 if same else 2)
    assert result.left_out.check.tolist() == (["duplicate"] if same else [])
