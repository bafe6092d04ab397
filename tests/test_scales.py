"""Scales of a training set: fitted, written, read, refused."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from batches import SCALES

from pesloss.errors import PeslossError
from pesloss.scales import Scales
from pesloss.statistics import EnergyStandardizer, ForceStandardizer
from pesloss.statistics.benchmark import draw_energies
from pesloss.statistics.scales import fit_scales, fit_structures


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


def test_what_cannot_be_fitted_is_named() -> None:
    with pytest.raises(PeslossError, match="no structure"):
        fit_structures([])
    structures = made(5, 4)
    structures[3].calc = None
    with pytest.raises(PeslossError, match="structure 3: the calculator's energy is missing"):
        fit_structures(structures)
    with pytest.raises(PeslossError, match=r"structure 0: info\['dft'\] is missing; info has"):
        fit_structures(made(5, 4), "dft")
    with pytest.raises(PeslossError, match="structure 1: species is 'Au'; allowed: H, C, O"):
        SCALES.composition([Atoms("H2"), Atoms("HAu")])
    with pytest.raises(PeslossError, match="fit every energy exactly"):
        fit_scales([[1, 2]], [-30.0], ["O", "H"])
