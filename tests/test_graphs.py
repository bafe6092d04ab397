"""Neighbour lists against all pairs, and batches against single structures."""

from dataclasses import fields
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from conftest import Tiny
from numpy.typing import NDArray

from pesloss.data.graphs import Graphs, build_graphs
from pesloss.job.errors import PeslossError
from pesloss.model.batches import Batcher

CUTOFF = 3.2


def labelled(atoms: Atoms, name: str = "x") -> Atoms:
    forces = np.zeros((len(atoms), 3))
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=forces)
    atoms.info = {"structure": name}
    return atoms


def random_atoms(seed: int, n: int, pbc: tuple[bool, bool, bool], cell: bool) -> Atoms:
    rng = np.random.default_rng(seed)
    box = np.eye(3) * 4.0 + rng.uniform(-0.8, 0.8, (3, 3))
    # Coordinates beyond the cell: neither side may assume they are wrapped.
    positions = rng.uniform(-0.7, 1.7, (n, 3)) @ box
    atoms = Atoms("C" * n, positions=positions, cell=box if cell else None, pbc=pbc)
    return labelled(atoms)


def all_pairs(atoms: Atoms, cutoff: float) -> list[tuple[int, int, tuple[float, ...]]]:
    """Every image of every atom within the cutoff of every atom, the slow way."""
    cell, positions = atoms.cell.array, atoms.positions
    reach = [range(-6, 7) if periodic else range(1) for periodic in atoms.pbc]
    shifts = [np.array(shift) @ cell for shift in product(*reach)]
    found = []
    for i, j in product(range(len(atoms)), repeat=2):
        for shift in shifts:
            distance = float(np.linalg.norm(positions[j] + shift - positions[i]))
            if distance < cutoff and not (i == j and not np.any(shift)):
                found.append((i, j, rounded(positions[j] + shift - positions[i])))
    return sorted(found)


def rounded(vector: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(x) for x in np.round(vector, 6) + 0.0)


def listed(graphs: Graphs) -> list[tuple[int, int, tuple[float, ...]]]:
    vectors = graphs.positions[graphs.neighbour] + graphs.offset - graphs.positions[graphs.centre]
    pairs = zip(graphs.centre, graphs.neighbour, vectors, strict=True)
    return sorted((int(i), int(j), rounded(vector)) for i, j, vector in pairs)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("pbc", "cell"),
    [
        ((False, False, False), False),
        ((False, False, False), True),
        ((True, True, False), True),
        ((True, True, True), True),
    ],
    ids=["molecule", "molecule in a box", "slab", "crystal"],
)
def test_pairs_are_those_within_the_cutoff(
    seed: int, pbc: tuple[bool, bool, bool], cell: bool
) -> None:
    atoms = random_atoms(seed, 6, pbc, cell)
    graphs = build_graphs([atoms], CUTOFF)
    assert listed(graphs) == all_pairs(atoms, CUTOFF)
    assert (np.diff(graphs.centre) >= 0).all()


def test_an_atom_alone_has_no_pairs_and_a_crystal_of_one_atom_has_its_images() -> None:
    alone = labelled(Atoms("C"))
    crystal = labelled(Atoms("C", cell=np.eye(3) * 3.0, pbc=True))
    assert list(build_graphs([alone, crystal], CUTOFF).n_pairs) == [0, 6]


def test_a_cell_that_is_not_whole_is_refused() -> None:
    with pytest.raises(PeslossError, match="structure x: periodic, but with 2 cell vectors"):
        build_graphs([labelled(Atoms("C", cell=[3.0, 3.0, 0.0], pbc=(True, True, False)))], CUTOFF)


def test_a_batch_is_its_structures_one_after_the_other(tiny: Tiny) -> None:
    batcher = Batcher(tiny.graphs)
    chosen = np.array([5, 0, 39, 7])
    batch = batcher(chosen)
    atoms_before = 0
    pairs: list[tuple[int, int]] = []
    for place, index in enumerate(chosen):
        one = batcher(np.array([index]))
        mine = batch.structure == place
        assert torch.equal(batch.positions[mine], one.positions)
        assert torch.equal(batch.numbers[mine], one.numbers)
        assert torch.equal(batch.atom[mine], one.atom)
        pairs += [
            (int(i) + atoms_before, int(j) + atoms_before) for i, j in zip(*one.pairs, strict=True)
        ]
        atoms_before += int(one.n_atoms)
    assert [(int(i), int(j)) for i, j in zip(*batch.pairs, strict=True)] == pairs
    offsets = torch.cat([batcher(np.array([i])).offset for i in chosen])
    assert torch.equal(batch.offset, offsets)


def test_a_batch_holds_each_pair_once(tiny: Tiny) -> None:
    batcher = Batcher(tiny.graphs, torch.float64)
    last = np.cumsum(tiny.graphs.n_pairs)
    for index in (3, 4):  # a cluster, and a crystal with pairs of an atom and its own image
        mine = slice(last[index] - tiny.graphs.n_pairs[index], last[index])
        batch = batcher(np.array([index]))
        once = np.column_stack([*batch.pairs, batch.offset])
        turned = np.column_stack([*batch.pairs[::-1], -batch.offset])
        columns = ("centre", "neighbour", "offset")
        listed = np.column_stack([getattr(tiny.graphs, name)[mine] for name in columns])
        assert {*map(tuple, once), *map(tuple, turned)} == {*map(tuple, listed)}
        assert 2 * len(once) == len(listed)


def test_graphs_hold_the_structures_as_they_are(tiny: Tiny) -> None:
    first = np.cumsum(tiny.graphs.n_atoms) - tiny.graphs.n_atoms
    for k, atoms in enumerate(tiny.structures):
        mine = slice(first[k], first[k] + len(atoms))
        assert np.array_equal(tiny.graphs.forces[mine], atoms.get_forces())
        assert np.array_equal(tiny.graphs.numbers[mine], atoms.numbers)
        assert tiny.graphs.energy[k] == atoms.get_potential_energy()


def test_a_graph_file_gives_back_its_graphs(tiny: Tiny, tmp_path: Path) -> None:
    tiny.graphs.write(tmp_path / "g.npz")
    again = Graphs.read(tmp_path / "g.npz")
    for field in fields(Graphs):
        one, other = getattr(tiny.graphs, field.name), getattr(again, field.name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign"])
def test_a_damaged_graph_file_is_named(tiny: Tiny, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "g.npz"
    tiny.graphs.write(path)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100] if damage == "cut" else b"graphs")
    with pytest.raises(PeslossError) as error:
        Graphs.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_structures_are_found_by_name_in_the_order_asked_for(tiny: Tiny) -> None:
    assert list(tiny.graphs.select(["s07", "s01"])) == [7, 1]
    with pytest.raises(PeslossError, match="structure is 's99'"):
        tiny.graphs.select(["s01", "s99"])
