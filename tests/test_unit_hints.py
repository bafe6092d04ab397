"""Units that forces cannot tell are hinted at by lengths and energies; sound data by none."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, graphene, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.collections import g2
from originals import SETS, needs_originals, original

from pesloss.data.checks import check_units, checked
from pesloss.data.label_units import EV
from pesloss.data.unit_hints import about_energies, about_lengths
from pesloss.job.errors import PeslossError

# total energies of all electrons of free atoms, Hartree: Hartree–Fock limits (Koga & Thakkar,
# J. Phys. B 29, 2973, 1996)
FREE = {"H": -0.5, "Li": -7.4327, "C": -37.6886, "N": -54.4009, "O": -74.8094, "F": -99.4093}
SKIPPED = ("Be", "Na", "Si", "P", "S", "Cl", "Al", "B")


def molecules(energy_in: float = 1.0, length_in: float = 1.0) -> list[Atoms]:
    """Molecules with about their total energies, in other units taken for eV and Å."""
    rng = np.random.default_rng(0)
    frames = []
    for name in g2.names:
        atoms = molecule(name)
        if len(atoms) < 2 or set(atoms.symbols) & set(SKIPPED):
            continue
        atoms.rattle(0.03, rng=rng)
        bound = sum(FREE[s] for s in atoms.symbols) - 0.1 * len(atoms)
        energy = bound * units.Hartree + rng.normal(0, 0.3)
        atoms.positions /= length_in
        atoms.calc = SinglePointCalculator(atoms, energy=energy / energy_in)
        frames.append(atoms)
    return frames


def test_sound_molecules_give_no_hint() -> None:
    frames = molecules()
    assert len(frames) > 50
    assert about_lengths(frames) + about_energies(frames) == []


@pytest.mark.parametrize("unit", [unit for unit in EV if unit != "eV"])
def test_total_energies_in_another_unit_are_named(unit: str) -> None:
    (line,) = about_energies(molecules(EV[unit]))
    assert line.endswith(f"they look like {unit}")
    assert float(line.split()[2]) == pytest.approx(1 / EV[unit], rel=0.03)
    (line,) = about_energies(molecules(1 / EV[unit]))
    assert line.endswith(f"they look like eV that were turned into eV from {unit}")


def test_a_wrong_sign_is_named() -> None:
    (line,) = about_energies(molecules(-1.0))
    assert line.endswith("their sign looks wrong")


@pytest.mark.parametrize(
    ("length_in", "said"),
    [
        (units.Bohr, "coordinates look like Bohr"),
        (10.0, "coordinates look like nm"),
        (1 / units.Bohr, "coordinates look like Å that were turned into Å from Bohr"),
    ],
)
def test_lengths_in_another_unit_are_named(length_in: float, said: str) -> None:
    (line,) = about_lengths(molecules(length_in=length_in))
    assert line.endswith(said)


def test_hartree_and_bohr_without_forces_are_both_told() -> None:
    notes = checked(molecules(units.Hartree, units.Bohr), forces=False).notes
    assert any(note.endswith("coordinates look like Bohr") for note in notes)
    assert any(note.endswith("they look like Hartree") for note in notes)


def test_the_hint_is_in_the_error_where_the_unit_leaves_nothing() -> None:
    frames = []
    for a in np.linspace(3.5, 3.7, 6):
        atoms = bulk("Cu", "fcc", a=a / units.Bohr, cubic=True)
        atoms.calc = SinglePointCalculator(atoms, energy=-3.7)
        frames.append(atoms)
    with pytest.raises(PeslossError) as caught:
        checked(frames, forces=False)
    assert "6 by isolated atom" in str(caught.value)
    assert str(caught.value).endswith("coordinates look like Bohr")


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Cs", "bcc", a=6.14),
        bulk("Cu", "fcc", a=3.6),
        bulk("Ar", "fcc", a=5.26),
        bulk("NaCl", "rocksalt", a=5.64),
        bulk("CsCl", "cesiumchloride", a=4.12),
        bulk("Si", "diamond", a=5.43),
        bulk("Mg", "hcp", a=3.2, c=5.2),
        bulk("Ca", "fcc", a=5.58),
        graphene(vacuum=10.0),
        molecule("C60"),
        molecule("H2"),
    ],
)
def test_matter_of_all_kinds_has_usual_lengths(atoms: Atoms) -> None:
    for strain in (0.92, 1.0, 1.12):
        strained = atoms.copy()
        strained.set_cell(strain * strained.cell.array, scale_atoms=True)
        if not strained.pbc.any():
            strained.positions *= strain
        assert about_lengths([strained]) == []


def test_energies_of_valence_electrons_say_nothing() -> None:
    rng = np.random.default_rng(0)
    frames = molecules()
    for atoms in frames:
        energy = -6.5 * len(atoms) + rng.normal(0, 1)
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
    assert about_energies(frames) == []


@needs_originals
@pytest.mark.parametrize("name", SETS)
def test_public_sets_give_no_hint(name: str) -> None:
    frames, _ = original(name)
    assert about_lengths(frames) + about_energies(frames) == []


def morse(seed: int, spread: float, n_frames: int = 60, scale: float = 1.0) -> list[Atoms]:
    """Frames of five atoms that move by ``spread`` Å each; exact forces times ``scale``."""
    rng = np.random.default_rng(seed)
    home = 1.5 * np.array(
        [[0, 0, 0], [1, 0, 0], [0.5, 0.87, 0], [0.5, 0.29, 0.81], [0.5, 0.29, -0.81]]
    )
    frames = []
    for _ in range(n_frames):
        positions = home + rng.normal(0, spread, (5, 3))
        energy, forces = 0.0, np.zeros((5, 3))
        for i in range(5):
            for j in range(i):
                away = positions[i] - positions[j]
                distance = float(np.linalg.norm(away))
                decay = np.exp(-2.2 * (distance - 1.5))
                energy += 4.0 * (decay**2 - 2 * decay)
                pull = 4.0 * 2 * 2.2 * (decay**2 - decay) * away / distance
                forces[i] += pull
                forces[j] -= pull
        atoms = Atoms("C5", positions)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=scale * forces)
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [0.05, 0.1, 0.15, 0.2])
def test_anharmonic_motion_is_no_mistake_of_units(seed: int, spread: float) -> None:
    first = check_units(morse(seed, spread))[0]
    assert "median" in first or "not checked" in first


@pytest.mark.parametrize("scale", [-1.0, 1 / units.Hartree, 1 / EV["kcal/mol"], 1000.0])
@pytest.mark.parametrize("spread", [0.01, 0.05])
def test_a_wrong_unit_is_found_all_the_same(scale: float, spread: float) -> None:
    with pytest.raises(PeslossError, match="energy differences are"):
        check_units(morse(1, spread, scale=scale))


@pytest.mark.parametrize("scale", [units.Bohr, 1 / units.Bohr])
@pytest.mark.parametrize("spread", [0.01, 0.03])
def test_a_factor_of_two_is_found_where_moves_are_small(scale: float, spread: float) -> None:
    with pytest.raises(PeslossError, match="energy differences are"):
        check_units(morse(1, spread, scale=scale))
