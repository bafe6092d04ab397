"""Isolated atoms are named reference energies, and compared with the means they bound."""

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from pesloss.data.checks import checked
from pesloss.data.isolated import compared_with_means, reference_energies
from pesloss.job.errors import PeslossError
from pesloss.scales.isolated_atoms import is_isolated


def frame(atoms: Atoms, energy: float | None = -1.0, **info: Any) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **({} if energy is None else {"energy": energy}))
    copy.info.update(info)
    return copy


def boxed(side: float, pbc: Any = True) -> Atoms:
    return Atoms("Cu", cell=np.eye(3) * side, pbc=pbc)


@pytest.mark.parametrize(
    ("atoms", "info", "wanted"),
    [
        (Atoms("C"), {}, True),
        (boxed(15.0), {}, True),
        (boxed(15.0, False), {}, True),
        (boxed(2.5), {}, False),
        (bulk("Cs", "bcc", a=6.3), {}, False),
        (bulk("Cu", "fcc", a=3.6), {}, False),
        (boxed(2.5, (True, False, False)), {}, False),
        (boxed(2.5), {"config_type": "IsolatedAtom"}, True),
        (Atoms("C", pbc=True), {"config_type": "isolated_atom"}, True),
        (Atoms("C", pbc=True), {}, False),
        (boxed(5.0), {"type": np.str_("Isolated atom, spin 3")}, True),
        (Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), {"config_type": "IsolatedAtom"}, False),
        (Atoms("C", cell=np.ones((3, 3)), pbc=True), {}, False),
        (Atoms("C", cell=np.full((3, 3), np.nan), pbc=True), {}, False),
    ],
)
def test_an_isolated_atom_is_told_from_a_crystal_of_one_atom(
    atoms: Atoms, info: dict[str, Any], wanted: bool
) -> None:
    assert is_isolated(frame(atoms, **info)) == wanted


def test_a_skewed_cell_does_not_hide_the_nearest_image() -> None:
    skewed = bulk("Cu", "fcc", a=3.6)
    skewed.set_cell(skewed.cell.array + np.outer([0, 0, 1], 9 * skewed.cell.array[0]))
    assert not is_isolated(frame(skewed))


def test_isolated_atoms_are_kept_apart_and_named() -> None:
    dimer = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]])
    frames = [
        frame(Atoms("C"), -10.0, source="a@0"),
        frame(dimer, -25.0, source="a@1"),
        frame(Atoms("O"), -12.0, source="a@2"),
        frame(Atoms("O"), None, source="a@3"),
    ]
    result = checked(frames, where="a")
    assert result.kept == [frames[1]]
    assert result.places == [1]
    assert result.isolated == [frames[0], frames[2]]
    assert result.left_out.values.tolist() == [["a@3", "energy", "the energy is missing"]]
    assert result.unused.source.tolist() == ["a@3", "a@0", "a@2"]
    assert result.notes[0] == (
        "2 isolated atoms are reference energies (E0), left out: a@0 (C), a@2 (O)"
    )


def test_nothing_left_says_how_many_by_which_check() -> None:
    frames = [frame(Atoms("C"), -10.0), frame(Atoms("CO", [[0, 0, 0], [0, 0, 1]]), np.nan)]
    with pytest.raises(PeslossError) as caught:
        checked(frames, where="mine.xyz")
    assert str(caught.value) == (
        "mine.xyz: no structure is left of 2: 1 by energy (frame 1: the energy is nan); "
        "1 isolated atoms (reference energies)"
    )


def test_the_lowest_of_differing_reference_energies_counts() -> None:
    dimer = frame(Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), -25.0)
    atoms = [frame(Atoms("O"), -12.0, config_type="IsolatedAtom", spin=2), frame(Atoms("O"), -9.5)]
    assert reference_energies(atoms) == {"O": -12.0}
    assert checked([dimer, *atoms]).notes[1] == (
        "O: 2 isolated atoms with energies from -12.0000 to -9.5000 eV; the lowest is taken as E0"
    )


@pytest.mark.parametrize(
    ("e0", "mean", "said"),
    [
        (-10.0, -13.0, "(cohesion)"),
        (-10.0, -8.0, "μ above E0"),
        (-10.0, 12.0, "the signs differ"),
        (-38.0, -1036.0, "looks like E0 in Hartree"),
        (-1030.0, -38.0, "looks like the structures in Hartree"),
        (-10.0, -95.0, "more than 15 eV of cohesion"),
        (0.0, -5.0, "E0 is zero"),
    ],
)
def test_e0_is_compared_with_the_mean(e0: float, mean: float, said: str) -> None:
    line = compared_with_means({"C": e0}, ["C"], [mean], [0.01])[0]
    assert f"C: E0 {e0:.4f} eV, μ {mean:.4f} ± 0.01 eV, μ − E0 {mean - e0:+.4f} eV" in line
    assert said in line


def test_a_mean_that_is_open_is_not_compared() -> None:
    lines = compared_with_means({"C": -5.0}, ["C", "H"], [-3.0, -1.0], [None, 0.1])
    assert "the structures do not fix μ of C" in lines[0]
    assert lines[1] == "H: no isolated atom, so no E0 to compare with"
