"""Scales of a training set: fitted, written, read, refused."""

import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from batches import SCALES

from pesloss.benchmarks.scales import draw_energies
from pesloss.job.errors import PeslossError
from pesloss.scales import EnergyStandardizer, ForceStandardizer
from pesloss.scales.scales import LARGEST, Scales
from pesloss.scales.training_set import fit_scales, fit_structures


def made(n: int, seed: int, forces: bool = True) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(n):
        symbols = ["O"] * rng.integers(1, 5) + ["H"] * rng.integers(1, 9)
        atoms = Atoms(symbols, positions=rng.normal(size=(len(symbols), 3)))
        counts = np.array([[symbols.count("H"), symbols.count("O")]])
        energy = float(draw_energies(counts, (-13.0, -2040.0), (0.2, 0.7), rng)[0])
        eta = np.where(atoms.numbers == 1, 0.5, 2.0)[:, None]
        labels = {"energy": energy, "forces": eta * rng.normal(size=(len(atoms), 3))}
        if not forces:
            del labels["forces"]
        atoms.calc = SinglePointCalculator(atoms, **labels)
        structures.append(atoms)
    return structures


def test_scales_are_those_of_the_standardizers() -> None:
    structures = made(400, 1)
    scales = fit_structures(structures)
    counts = np.array([[(a.numbers == z).sum() for z in (1, 8)] for a in structures])
    energy = np.array([a.calc.results["energy"] for a in structures])
    plain = EnergyStandardizer().fit(counts, energy)
    shared = EnergyStandardizer(shared="one").fit(counts, energy)
    assert scales.species == ("H", "O")
    assert np.array_equal(scales.mean, plain.mean_)
    assert np.array_equal(scales.local_energy_scale, plain.species_scale())
    assert np.array_equal(scales.correlated_scale, shared.std_)
    assert np.array_equal(scales.shared_scale, shared.shared_std_)
    assert scales.structure_scale == shared.structure_std_
    numbers = np.concatenate([a.numbers for a in structures])
    forces = np.concatenate([a.calc.results["forces"] for a in structures])
    assert np.array_equal(scales.force_scale, ForceStandardizer().fit(numbers, forces).scale_)
    assert np.array_equal(scales.composition(structures), counts)


def test_labels_under_other_names() -> None:
    structures = made(60, 2)
    for atoms in structures:
        atoms.info["REF_energy"] = atoms.calc.results["energy"]
        atoms.arrays["REF_forces"] = atoms.calc.results["forces"]
    expected = fit_structures(structures)
    for atoms in structures:
        atoms.calc = None
    assert fit_structures(structures, "REF_energy", "REF_forces") == expected


def test_forces_may_be_absent() -> None:
    assert fit_structures(made(60, 3, forces=False)).force_scale == ()


def test_files_keep_every_float(tmp_path: Path) -> None:
    SCALES.write(tmp_path / "scales.json")
    assert Scales.read(tmp_path / "scales.json") == SCALES


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"H"', '"Xx"', "species is .'Xx'."),
        ('"species"', '"specis"', "species"),
        ('"structure_scale": 0.2', '"structure_scale": 0.2, "extra": 1', "key is 'extra'"),
        (
            '"structure_scale": 0.2',
            '"structure_scale": 9, "structure_scale": 0.2',
            "twice",
        ),
        ("    0.5,\n", "", "number of entries of force_scale is 2; allowed: 3"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "scales.json"
    SCALES.write(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(PeslossError, match=message) as caught:
        Scales.read(path)
    assert "scales.json" in str(caught.value)
    assert "\n" not in str(caught.value)


KEYS_OF_NUMBERS = {
    "mean": -LARGEST,
    "local_energy_scale": 1 / LARGEST,
    "correlated_scale": 0.0,
    "shared_scale": 0.0,
    "structure_scale": 0.0,
    "force_scale": 1 / LARGEST,
}
NO_NUMBERS = [math.nan, math.inf, -math.inf, 1e308, -1e308, 10**400, True, "0.3", None, [0.3], {}]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: str(value)[:8])
@pytest.mark.parametrize("key", KEYS_OF_NUMBERS)
def test_every_scale_is_a_number_that_scales_can_have(key: str, value: Any, tmp_path: Path) -> None:
    """Whether made or read, and wherever in the list the value stands."""
    changed: Any = value if key == "structure_scale" else (*getattr(SCALES, key)[:2], value)
    content: dict[str, Any] = {**asdict(SCALES), key: changed}
    shown = "structure_scale" if key == "structure_scale" else f"{key} of O"
    allowed = re.escape(f"allowed: a number from {KEYS_OF_NUMBERS[key]:g} to 1e+30")
    with pytest.raises(PeslossError, match=f"{shown} is .*; {allowed}"):
        Scales(**content)
    path = tmp_path / "scales.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PeslossError, match=f"scales.json: Scales: {shown} is .*; {allowed}") as it:
        Scales.read(path)
    assert "\n" not in str(it.value)


@pytest.mark.parametrize(("key", "least"), KEYS_OF_NUMBERS.items())
def test_the_least_value_of_a_scale_is_taken_and_less_is_not(key: str, least: float) -> None:
    def content(value: float) -> dict[str, Any]:
        return {**asdict(SCALES), key: value if key == "structure_scale" else 3 * (value,)}

    assert asdict(Scales(**content(least))) == content(least)
    assert Scales(**content(1)) == Scales(**content(1.0))  # JSON of other languages has 1 for 1.0
    with pytest.raises(PeslossError, match=key):
        Scales(**content(-1e-31 if least == 0 else least * (2 if least < 0 else 0.5)))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("species", ["H", "C", "X"], r"species is \['X'\]"),
        ("species", ["H", "C", "h"], r"species is \['h'\]"),
        ("species", ["H", "C", 8], r"species is \[8\]"),
        ("species", ["H", "C", ["O"]], r"species is \[\['O'\]\]"),
        ("species", ["H", "C", "C"], r"species is \('H', 'C', 'C'\)"),
        ("species", "HCO", "species is 'HCO'"),
        ("species", [], r"species is \(\)"),
        ("species", None, "species is None"),
        ("mean", 1.0, "mean is 1.0"),
        ("mean", {"H": 1.0}, "mean is {'H': 1.0}"),
        ("force_scale", None, "force_scale is None"),
        ("force_scale", "", "force_scale is ''"),
        ("shared_scale", [], "number of entries of shared_scale is 0; allowed: 3"),
    ],
)
def test_lists_of_the_wrong_kind_are_refused(
    key: str, value: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "scales.json"
    path.write_text(json.dumps(asdict(SCALES) | {key: value}))
    with pytest.raises(PeslossError, match=message):
        Scales.read(path)


def test_isolated_atoms_are_no_part_of_the_fit() -> None:
    """E0 of −30 and −400 eV besides means of −13 and −2040: as if they were not there."""
    structures = made(60, 5)
    for atoms in structures:
        atoms.cell, atoms.pbc = [20.0, 20.0, 20.0], True
    expected = fit_structures([atoms for atoms in structures if len(atoms) > 1])
    for symbol, energy in (("H", -30.0), ("O", -400.0), ("Au", -1.0)):
        atoms = Atoms(symbol, info={"config_type": "IsolatedAtom"})
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        structures.append(atoms)
    assert fit_structures(structures) == expected
    with pytest.raises(PeslossError, match="all 3 structures are isolated atoms"):
        fit_structures(structures[-3:])


def test_what_cannot_be_fitted_is_named() -> None:
    with pytest.raises(PeslossError, match="no structure"):
        fit_structures([])
    structures = made(5, 4)
    structures[3].calc = None
    with pytest.raises(PeslossError, match="frame 3: the calculator's energy is missing"):
        fit_structures(structures)
    with pytest.raises(PeslossError, match="energy key 'dft': no frame has it"):
        fit_structures(made(5, 4), "dft")
    with pytest.raises(PeslossError, match="structure 1: species is 'Au'; allowed: H, C, O"):
        SCALES.composition([Atoms("H2"), Atoms("HAu")])
    with pytest.raises(PeslossError, match="fit every energy exactly"):
        fit_scales([[1, 2]], [-30.0], ["O", "H"])
