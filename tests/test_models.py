"""Physics that a potential obeys whatever its weights are."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from conftest import Tiny
from numpy.typing import NDArray

from pesloss.data.graphs import build_graphs
from pesloss.model.batches import Batcher
from pesloss.model.potential import Potential, Prediction, build_model
from pesloss.spec.settings import ModelSpec

CUTOFF = 4.0


@pytest.fixture(scope="module", params=["schnet", "painn"])
def model(request: pytest.FixtureRequest, tiny: Tiny) -> Potential:
    spec = ModelSpec(
        representation=request.param, n_features=8, n_interactions=2, n_radial=6, cutoff=CUTOFF
    )
    return build_model(spec, tiny.statistics, seed=3).double()


def predicted(model: Potential, *structures: Atoms) -> Prediction:
    labelled = []
    for k, atoms in enumerate(structures):
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy, energy=0.0, forces=np.zeros((len(copy), 3)))
        copy.info = {"structure": str(k)}
        labelled.append(copy)
    batch = Batcher(build_graphs(labelled, CUTOFF), torch.float64)(np.arange(len(structures)))
    return Prediction(*(value.detach() for value in model(batch)))


@pytest.mark.parametrize("which", [3, 4], ids=["cluster", "crystal"])
def test_forces_are_the_slope_of_the_energy(model: Potential, tiny: Tiny, which: int) -> None:
    atoms, step = tiny.structures[which], 1e-4
    forces = predicted(model, atoms).forces.numpy()
    assert np.abs(forces).max() > 1e-3
    for i, c in np.ndindex(min(3, len(atoms)), 3):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[i, c] += sign * step
            ends.append(float(predicted(model, moved).deviation))
        assert forces[i, c] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-7)


def rotation(seed: int) -> NDArray[np.float64]:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return np.asarray(q * np.sign(np.linalg.det(q)))


@pytest.mark.parametrize("which", [6, 4], ids=["cluster", "crystal"])
def test_moving_and_turning_leave_the_energy_and_turn_the_forces(
    model: Potential, tiny: Tiny, which: int
) -> None:
    atoms, turn = tiny.structures[which], rotation(1)
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ turn, scale_atoms=False)
    moved.positions = atoms.positions @ turn + [0.3, -2.0, 5.0]
    here, there = predicted(model, atoms), predicted(model, moved)
    assert float(there.deviation) == pytest.approx(float(here.deviation), abs=1e-10)
    assert np.allclose(there.forces, here.forces.numpy() @ turn, atol=1e-10)


def test_the_order_of_atoms_does_not_matter(model: Potential, tiny: Tiny) -> None:
    atoms = tiny.structures[7]
    order = np.random.default_rng(0).permutation(len(atoms))
    here, there = predicted(model, atoms), predicted(model, atoms[order])
    assert float(there.deviation) == pytest.approx(float(here.deviation), abs=1e-12)
    assert np.allclose(there.forces, here.forces[order], atol=1e-12)


def test_the_species_matter(model: Potential, tiny: Tiny) -> None:
    atoms = tiny.structures[7].copy()
    atoms.symbols = ["Al"] * len(atoms)
    energy = float(predicted(model, atoms).deviation)
    atoms.symbols[0] = "Cu"
    assert abs(float(predicted(model, atoms).deviation) - energy) > 1e-4


def test_two_distant_copies_have_twice_the_energy(model: Potential, tiny: Tiny) -> None:
    atoms = tiny.structures[7]
    far = atoms.copy()
    far.translate([100.0, 0, 0])
    once, twice = predicted(model, atoms), predicted(model, atoms + far)
    assert float(twice.deviation) == pytest.approx(2 * float(once.deviation), rel=1e-10)


def test_a_supercell_has_as_many_times_the_energy(model: Potential, tiny: Tiny) -> None:
    atoms = tiny.structures[4]
    once, more = predicted(model, atoms), predicted(model, atoms.repeat((2, 1, 3)))
    assert float(more.deviation) == pytest.approx(6 * float(once.deviation), rel=1e-10)


def test_a_batch_predicts_what_its_structures_predict_alone(model: Potential, tiny: Tiny) -> None:
    chosen = tiny.structures[:6]
    together, alone = predicted(model, *chosen), [predicted(model, atoms) for atoms in chosen]
    assert np.allclose(together.deviation, torch.cat([p.deviation for p in alone]), atol=1e-12)
    assert np.allclose(together.forces, torch.cat([p.forces for p in alone]), atol=1e-12)


def test_local_energies_add_up_and_forces_cancel(model: Potential, tiny: Tiny) -> None:
    found = predicted(model, tiny.structures[7])
    assert float(found.local_energy.sum()) == pytest.approx(float(found.deviation), abs=1e-12)
    assert np.allclose(found.forces.sum(dim=0), 0, atol=1e-12)


def test_an_atom_alone_feels_no_force(model: Potential) -> None:
    found = predicted(model, Atoms("Cu"))
    assert found.forces.abs().max() == 0
    assert found.deviation.isfinite().all()


def test_local_energies_are_in_units_of_their_species_scale(tiny: Tiny) -> None:
    one, other = (build_model(tiny.model, d.statistics, 0) for d in (tiny, tiny.times(32.0)))
    batch = Batcher(tiny.graphs)(np.arange(4))
    assert torch.equal(other(batch).deviation, 32 * one(batch).deviation)


def test_initial_weights_depend_on_the_seed_alone(tiny: Tiny) -> None:
    def weights(seed: int, noise: int) -> torch.Tensor:
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        model = build_model(tiny.model, tiny.statistics, seed)
        assert torch.equal(torch.get_rng_state(), before)
        return torch.cat([p.detach().ravel() for p in model.parameters()])

    assert torch.equal(weights(0, 1), weights(0, 2))
    assert not torch.equal(weights(0, 1), weights(1, 1))
