"""Energies that cannot belong to their frames are left out by name; groups are named."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from originals import SETS, needs_originals, original

from pesloss.data.checks import Limits, checked
from pesloss.data.large_forces import about_large_forces
from pesloss.data.outliers import counts_of, deviations
from pesloss.job.errors import PeslossError

MEANS = {"Cu": -3.5, "Li": -1.9, "O": -6.0}
SIGMA = 0.2


def lattice(n: int, rng: np.random.Generator, spacing: float = 2.3) -> Atoms:
    side = int(np.ceil(n ** (1 / 3)))
    points = np.array(list(np.ndindex(side, side, side)), float)[:n] * spacing
    symbols = list(rng.choice(list(MEANS), n))
    return Atoms(symbols, points + rng.normal(0, 0.05, (n, 3)))


def relabelled(atoms: Atoms, energy: float) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


def planted(n_frames: int = 120, seed: int = 3, sizes: tuple[int, int] = (3, 30)) -> list[Atoms]:
    """Frames with independent local energies around ``MEANS``."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_frames):
        atoms = lattice(int(rng.integers(*sizes)), rng)
        own = sum(MEANS[s] for s in atoms.symbols) + rng.normal(0, SIGMA * np.sqrt(len(atoms)))
        frames.append(relabelled(atoms, own))
    return frames


def energy(atoms: Atoms) -> float:
    return float(atoms.calc.results["energy"])


def shifted(frames: list[Atoms], places: list[int], by: Callable[[Atoms], float]) -> None:
    for place in places:
        relabelled(frames[place], by(frames[place]))


def test_clean_energies_give_no_word() -> None:
    result = checked(planted(), forces=False)
    assert len(result.kept) == 120
    assert result.notes == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a: energy(a) - 550.0,
        lambda a: energy(a) + 550.0,
        lambda a: 0.0,
        lambda a: -energy(a),
        lambda a: energy(a) * 27.2114,
        lambda a: 1e4,
        lambda a: -1e9,
        lambda a: 1e300,
        lambda a: energy(a) / len(a),
    ],
    ids=["−550", "+550", "zero", "sign", "Hartree", "1e4", "−1e9", "1e300", "per atom"],
)
def test_an_absurd_energy_is_left_out_by_name(wrong: Callable[[Atoms], float]) -> None:
    frames = planted()
    big = int(np.argmax([len(a) for a in frames]))
    shifted(frames, [big], wrong)
    result = checked(frames, forces=False)
    assert result.left_out.source.tolist() == [str(big)]
    assert result.left_out.check.tolist() == ["energy"]
    assert f"the energy is {energy(frames[big]):.6g}"[:18] in result.left_out.reason[0]
    assert result.notes[0].startswith(f"1 left out by energy: frame {big}: the energy is ")
    assert big not in result.places
    assert len(result.kept) == 119


def test_what_was_expected_is_said() -> None:
    frames = planted()
    true = sum(MEANS[s] for s in frames[75].symbols)
    shifted(frames, [75], lambda a: energy(a) - 550.0)
    reason = checked(frames, forces=False).left_out.reason[0]
    expected, spread = reason.split("structures: ")[1].split(" eV")[0].split(" ± ")
    assert float(spread) == pytest.approx(SIGMA * np.sqrt(len(frames[75])), rel=0.3)
    assert float(expected) == pytest.approx(true, abs=float(spread))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.18])
def test_several_absurd_energies_do_not_hide_one_another(share: float) -> None:
    frames = planted()
    rng = np.random.default_rng(1)
    places = sorted(rng.choice(120, int(share * 120), replace=False).tolist())
    shifted(frames, places, lambda a: energy(a) + float(rng.choice([-1, 1])) * 30.0 * len(a))
    assert checked(frames, forces=False).left_out.source.tolist() == [str(i) for i in places]


def test_absurd_energies_can_be_kept() -> None:
    frames = planted()
    shifted(frames, [7], lambda a: energy(a) - 550.0)
    result = checked(frames, Limits(max_deviation=None), forces=False)
    assert result.left_out.empty
    assert "1 of 120 energies are more than 10 robust standard deviations" in result.notes[0]
    assert f"frame 7: {energy(frames[7]):.4f} eV, expected " in result.notes[0]


def test_a_milder_outlier_is_named_and_kept() -> None:
    frames = planted()
    shifted(frames, [11], lambda a: energy(a) + 20 * SIGMA * np.sqrt(len(a)))
    result = checked(frames, forces=False)
    assert result.left_out.empty
    assert "frame 11: " in result.notes[0]


def test_a_compressed_structure_is_kept_whatever_its_energy() -> None:
    frames = planted()
    frames[4].positions *= 0.4
    shifted(frames, [4], lambda a: energy(a) + 40.0 * len(a))
    result = checked(frames, forces=False)
    assert result.left_out.empty
    assert "frame 4: " in result.notes[0]


def test_free_atoms_far_apart_are_kept_for_they_lack_bonds() -> None:
    frames = planted()
    frames[4].positions *= 1.5
    shifted(frames, [4], lambda a: energy(a) + 5.0 * len(a))
    result = checked(frames, Limits(isolation=None), forces=False)
    assert result.left_out.empty
    shifted(frames, [4], lambda a: energy(a) + 50.0 * len(a))
    result = checked(frames, Limits(isolation=None), forces=False)
    assert result.left_out.source.tolist() == ["4"]


@pytest.mark.parametrize("key", ["config_type", "subset"])
def test_a_group_that_is_off_is_named_with_its_offset(key: str) -> None:
    frames = planted()
    for i, atoms in enumerate(frames):
        atoms.info[key] = "bulk" if i % 3 else "slab"
    slabs = [i for i in range(120) if i % 3 == 0]
    shifted(frames, slabs, lambda a: energy(a) + 2.4 * len(a))
    result = checked(frames, forces=False)
    assert result.left_out.empty
    (note,) = result.notes
    assert note.startswith(f"{key} slab: its 40 of 120 energies lie +2.")
    assert float(note.split("lie ")[1].split(" ")[0]) == pytest.approx(2.4, abs=0.05)


def test_no_group_is_named_where_none_is_off() -> None:
    frames = planted()
    for i, atoms in enumerate(frames):
        atoms.info.update(config_type=f"t{i % 4}", comment=f"unique {i}")
    assert checked(frames, forces=False).notes == []


def test_energies_that_are_all_zero_are_no_labels() -> None:
    frames = planted(10)
    shifted(frames, list(range(10)), lambda a: 0.0)
    with pytest.raises(PeslossError, match=r"^mine.xyz: all 10 energies are 0 eV"):
        checked(frames, forces=False, where="mine.xyz")


def test_few_structures_say_nothing_of_outliers_but_of_means() -> None:
    rng = np.random.default_rng(0)
    frames = [relabelled(lattice(5, rng), -4.0 * k) for k in range(1, 4)]
    for atoms in frames:
        atoms.symbols = "Cu2Li3"
    result = checked(frames, forces=False)
    assert len(result.kept) == 3
    assert result.notes == [
        "means cannot be told apart: Li, Cu: only the sum 1.5 Li + 1 Cu is fixed",
        "all 3 structures have 5 atoms: how errors and scales grow with size cannot be told",
    ]


def test_the_robust_fit_finds_the_planted_means_and_spread() -> None:
    frames = planted(600)
    rng = np.random.default_rng(2)
    shifted(frames, rng.choice(600, 60, False).tolist(), lambda a: energy(a) + 300.0)
    counts, symbols = counts_of(frames)
    found = deviations(counts, np.array([energy(a) for a in frames]))
    means = np.linalg.lstsq(counts, found.expected, rcond=None)[0]
    assert means == pytest.approx([MEANS[s] for s in symbols], abs=0.03)
    assert np.median(found.spread / np.sqrt(found.n_atoms)) == pytest.approx(SIGMA, rel=0.15)


@needs_originals
@pytest.mark.parametrize("name", SETS)
def test_no_structure_of_the_public_sets_is_called_absurd(name: str) -> None:
    frames, _ = original(name)
    limits: dict[str, Any] = {"max_net_force": None, "isolation": None}
    left_out = checked(frames, Limits(**limits)).left_out
    assert set(left_out.check) <= {"duplicate"}


def with_forces(spread: float = 1.0) -> list[Atoms]:
    """``planted`` with normal forces that add up to nothing."""
    rng = np.random.default_rng(5)
    frames = planted()
    for atoms in frames:
        forces = rng.normal(0, spread, (len(atoms), 3))
        atoms.calc.results["forces"] = forces - forces.mean(axis=0)
    return frames


def test_usual_forces_give_no_word() -> None:
    assert checked(with_forces()).notes == []


@pytest.mark.parametrize("odd", [1e2, 1e4, 1e6])
def test_a_frame_that_rules_the_mean_square_of_forces_is_named(odd: float) -> None:
    frames = with_forces()
    frames[7].calc.results["forces"][:2] = [[odd, 0, 0], [-odd, 0, 0]]
    frames[7].calc.results["forces"][2:] = 0
    others = [atoms.calc.results["forces"] for i, atoms in enumerate(frames) if i != 7]
    usual = np.sqrt(np.mean(np.concatenate(others) ** 2))
    (note,) = checked(frames).notes
    assert note.startswith("forces: 1 of 120 structures raise the RMS force from ")
    assert float(note.split(" from ")[1].split()[0]) == pytest.approx(usual, rel=0.02)
    assert f"frame 7 (up to {odd:.4g} eV/Å)" in note


@pytest.mark.parametrize("odd", [1.1e6, 1e100, 1e300, -1e308])
def test_forces_that_no_atoms_have_are_left_out(odd: float) -> None:
    frames = with_forces()
    frames[7].calc.results["forces"][1, 2] = odd
    result = checked(frames)
    assert len(result.kept) == 119
    assert result.notes == [
        "1 left out by forces: frame 7: the force on atom 1 is beyond 1e+06 eV/Å"
    ]


@needs_originals
@pytest.mark.parametrize("name", SETS)
def test_of_the_public_sets_none_but_violent_frames_are_named(name: str) -> None:
    frames, _ = original(name)
    found = [atoms for atoms in frames if "forces" in atoms.calc.results]
    for note in about_large_forces(found, [str(i) for i in range(len(found))]):
        largest = [float(force) for force in re.findall(r"up to ([0-9.]+) eV/Å", note)]
        assert len(largest) == 3
        assert min(largest) > 50  # eV/Å
