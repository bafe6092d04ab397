"""Too few structures, and energies that spoil a fit: one line that says what is needed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pesloss.benchmarks.scales import draw_energies, draw_sparse_compositions
from pesloss.job.errors import PeslossError
from pesloss.scales.energy import EnergyStandardizer
from pesloss.scales.training_set import fit_scales
from pesloss.scales.uncertainty import inverse
from pesloss.statistics.fit import fit_statistics

FEW = [[100, 50, 0, 0]] * 3 + [[0, 0, 8, 0]] * 3 + [[0, 0, 0, 2]]
ENERGIES = [-748.73, -746.98, -748.79, -65.11, -63.23, -63.62, -6.23]


def test_few_compositions_are_told_how_many_are_needed() -> None:
    with pytest.raises(PeslossError) as caught:
        fit_scales(FEW, ENERGIES, ["H", "W", "C", "Cu"])
    assert str(caught.value) == (
        "scales: 7 structures of 3 compositions fix 3 means and leave 4 energies for 4 scales "
        "(H, W, C, Cu); more structures are needed, at least 8"
    )


def test_a_singular_information_leaves_finite_scales() -> None:
    fit = EnergyStandardizer().fit(FEW, ENERGIES, ["H", "W", "C", "Cu"])
    assert np.isfinite(fit.std_).all()
    assert fit.mean_[2] == pytest.approx(np.mean(ENERGIES[3:6]) / 8)
    assert not fit.identifiable_[[0, 1, 3]].any()


def test_as_many_structures_as_the_line_asks_for_do() -> None:
    energies = [*ENERGIES, -6.4]
    assert min(fit_scales([*FEW, FEW[-1]], energies, list("HWCO")).local_energy_scale) > 0


@pytest.mark.parametrize("n_present", [1, 2, 5])
@pytest.mark.parametrize("shared", [False, "one", "species"])
@pytest.mark.parametrize("size", [1e4, 1e9, 1e20, -1e60])
def test_one_huge_energy_ends_in_a_fit_or_in_its_name(
    n_present: int, shared: Any, size: float
) -> None:
    rng = np.random.default_rng(3)
    counts = draw_sparse_compositions(40, 12, rng, n_present)
    counts = counts[:, counts.any(axis=0)]
    ones = np.ones(counts.shape[1])
    energy = draw_energies(counts, -50.0 * ones, 0.3 * ones, rng)
    energy[17] = size
    try:
        fit = EnergyStandardizer(shared=shared).fit(counts, energy)
    except PeslossError as error:
        assert "the energy of structure 17 is wrong" in str(error)  # noqa: PT017
    else:
        assert np.isfinite(fit.std_).all()


def test_energies_whose_squares_overflow_are_refused_by_name() -> None:
    with pytest.raises(PeslossError, match=r"structure 1 is 1e\+200; allowed: up to 1e\+100"):
        EnergyStandardizer().fit([[1], [2], [3]], [1.0, 1e200, 3.0])


def test_the_inverse_of_a_regular_matrix_is_numpys() -> None:
    a = np.random.default_rng(0).normal(size=(4, 4))
    found = inverse(a @ a.T)
    assert np.array_equal(found.covariance, np.linalg.inv(a @ a.T))
    assert not found.unknown.any()


def test_nothing_is_known_where_the_information_is_singular() -> None:
    found = inverse(np.array([[2.0, 2.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 4.0]]))
    assert found.unknown.tolist() == [True, True, False]
    assert found.covariance[2, 2] == pytest.approx(0.25)


def table_of(counts: list[list[int]], energy: list[float]) -> pd.DataFrame:
    names = [f"s{i}" for i in range(len(counts))]
    content = {"structure": names, "group": names, "energy": energy}
    table = pd.DataFrame(content).assign(n_atoms=np.sum(counts, axis=1))
    return table.assign(n_H=np.array(counts)[:, 0], n_C=np.array(counts)[:, 1])


COUNTS = [[1, 2], [2, 1], [3, 5], [4, 4], [2, 6], [5, 1], [7, 2], [3, 3]]


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        ([0.0] * 8, "mine: split 'train': all 8 energies are zero"),
        ([-10.0 * h - 20.0 * c for h, c in COUNTS], "mine: split 'train': all 8 energies are fitt"),
        ([1e200] * 8, "mine: energy: structure 0 is 1e\\+200"),
    ],
)
def test_labels_without_spread_are_refused_by_dataset(energy: list[float], message: str) -> None:
    table = table_of(COUNTS, energy)
    with pytest.raises(PeslossError, match=message):
        fit_statistics("mine", table, table[["structure"]].assign(split="train"))


def test_a_training_split_of_a_few_structures_is_refused_by_dataset() -> None:
    table = table_of(COUNTS[:4], [-1.0, -2.5, -7.0, -9.0])
    with pytest.raises(PeslossError, match=r"mine: split 'train': 4 structures .* at least 5"):
        fit_statistics("mine", table, table[["structure"]].assign(split="train"))


def structures_of(table: pd.DataFrame, forces_on_carbon: float) -> list[Atoms]:
    frames = []
    for name, energy, (hydrogen, carbon) in zip(table.structure, table.energy, COUNTS, strict=True):
        n_atoms = hydrogen + carbon
        atoms = Atoms(f"H{hydrogen}C{carbon}", np.arange(3 * n_atoms).reshape(-1, 3))
        forces = np.repeat([1.0, forces_on_carbon], [hydrogen, carbon])[:, None] * np.ones(3)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info["structure"] = name
        frames.append(atoms)
    return frames


def test_forces_that_are_all_zero_on_a_species_are_refused() -> None:
    rng = np.random.default_rng(0)
    table = table_of(COUNTS, (np.array(COUNTS) @ [-10.0, -20.0] + rng.normal(size=8)).tolist())
    splits = table[["structure"]].assign(split="train")
    fitted = fit_statistics("mine", table, splits, structures_of(table, 2.0))
    assert fitted.force_scale == (1.0, 2.0)
    with pytest.raises(PeslossError, match="mine: split 'train': forces on C are all zero"):
        fit_statistics("mine", table, splits, structures_of(table, 0.0))
