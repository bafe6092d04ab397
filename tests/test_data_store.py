"""Files that are not what they should be are refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pesloss.data.store import read_structures, structure_table, write_structures
from pesloss.job.errors import PeslossError


def water(k: int, symbols: str = "OH2") -> Atoms:
    atoms = Atoms(symbols, np.arange(9.0).reshape(3, 3) + k)
    atoms.info.update(structure=f"{k}", group="007", phase="molecule")
    atoms.calc = SinglePointCalculator(atoms, energy=-1e5 / 3 - k, forces=np.full((3, 3), k / 3))
    return atoms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.xyz"
    write_structures(path, [water(k) for k in range(3)], {"n": 3, "shares": {"a": 0.1}})
    return path


def test_energies_come_back_exactly(path: Path) -> None:
    structures = read_structures(path)
    assert [a.get_potential_energy() for a in structures] == [-1e5 / 3 - k for k in range(3)]
    assert [a.info["structure"] for a in structures] == ["0", "1", "2"]
    assert structures[0].info["recipe"] == {"n": 3, "shares": {"a": 0.1}}
    assert "energy_unit=eV forces_unit=eV/Ang" in path.read_text()


def test_table_counts_species_by_atomic_number(path: Path) -> None:
    methylene = water(3, "CH2")
    table = structure_table([*read_structures(path), methylene])
    fixed = ["structure", "group", "phase", "n_atoms", "energy"]
    assert list(table) == [*fixed, "n_H", "n_C", "n_O"]
    assert table[["n_H", "n_C", "n_O"]].to_numpy().tolist() == [*[[2, 0, 1]] * 3, [2, 1, 0]]


def test_every_truncation_is_noticed(path: Path) -> None:
    text = path.read_text()
    for end in [*range(0, len(text), 5), len(text) - 1]:
        path.write_text(text[:end])
        with pytest.raises(PeslossError, match=r"mine\.xyz") as caught:
            read_structures(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("energy=-33335", "energy=nan #", "energy is 'missing or NaN'; allowed: finite numbers"),
        (" energy=-", " enrgy=-", "energy is 'missing or NaN'"),
        ("\nO  ", "\nQq ", "species is 'Qq'; allowed"),
        ("energy_unit=eV", "energy_unit=Ha", "energy_unit is 'Ha'; allowed: eV"),
        ("group=007", "grp=007", "key 'group' is missing"),
        ("n_structures=3", "n_structures=4", "number of structures is 3; allowed: 4"),
        ("0.33333333", "nan       ", "forces is 'missing or NaN'"),
        ("Properties=", "Props=", ""),
    ],
)
def test_wrong_content_is_named(path: Path, old: str, new: str, message: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(PeslossError, match=r"mine\.xyz") as caught:
        read_structures(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"structure,energy\n1,2\n", b"\x89PNG\xff", b"3\n\n"])
def test_foreign_files_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(PeslossError, match=r"mine\.xyz"):
        read_structures(path)
    path.unlink()
    with pytest.raises(PeslossError, match="no such file"):
        read_structures(path)


def test_an_empty_part_is_no_mistake(tmp_path: Path) -> None:
    write_structures(tmp_path / "part.xyz", [], {})
    assert read_structures(tmp_path / "part.xyz", may_be_empty=True) == []
