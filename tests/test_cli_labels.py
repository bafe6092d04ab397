"""Labels under whatever keys users have: found where ASE puts them, or said what there is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from planted import ETA, MEAN, SIGMA, planted, renamed, saved

from pesloss.__main__ import main
from pesloss.job.errors import PeslossError
from pesloss.scales.keys import labelled


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str]]:
    """Exit status and the lines on stderr."""
    status = main([str(item) for item in arguments])
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("pesloss: ") for line in said)
    return status, said


def about(said: list[str], *words: str) -> str:
    """The one line with all these words."""
    found = [line for line in said if all(word in line for word in words)]
    assert len(found) == 1, said
    return found[0]


KEYS = ["--energy-key", "energy", "--forces-key", "forces"]


def test_keys_that_ase_moves_to_the_calculator_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = saved(tmp_path / "train.xyz", planted(120))
    for name, keys in (("with", KEYS), ("without", [])):
        assert run(capsys, "scales", data, tmp_path / name, *keys)[0] == 0
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes()
    found = json.loads((tmp_path / "with").read_text())
    assert found["mean"] == pytest.approx([MEAN[s] for s in found["species"]], abs=0.5)
    assert np.sqrt(np.mean(np.square(found["local_energy_scale"]))) == pytest.approx(SIGMA, rel=0.2)
    assert found["force_scale"] == pytest.approx([ETA] * 3, rel=0.1)
    assert run(capsys, "weights", "gap", data, tmp_path / "o.xyz", *KEYS)[0] == 0


@pytest.mark.parametrize("key", ["free_energy", "REF_energy", "Energy", "dft_energy"])
def test_any_key_gives_the_same_scales(key: str, tmp_path: Path) -> None:
    structures = planted()
    expected = saved(tmp_path / "plain.xyz", renamed(structures, "energy", "forces"))
    data = saved(tmp_path / "train.xyz", renamed(structures, key, "forces"))
    assert main(["scales", str(expected), str(tmp_path / "expected")]) == 0
    assert main(["scales", str(data), str(tmp_path / "found"), "--energy-key", key]) == 0
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()


@pytest.mark.parametrize("command", [["scales"], ["weights", "mace"]], ids=["scales", "weights"])
@pytest.mark.parametrize(
    ("option", "typo", "meant"),
    [
        ("--energy-key", "ref_energy", "did you mean 'REF_energy'? there are: REF_energy"),
        ("--energy-key", "REF_energi", "there are: REF_energy"),
        ("--forces-key", "dft_Forces", "did you mean 'dft_forces'? there are: dft_forces"),
        ("--forces-key", "typo", "there are: dft_forces"),
    ],
)
def test_a_key_that_no_frame_has_is_an_error(
    command: list[str],
    option: str,
    typo: str,
    meant: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = saved(tmp_path / "train.xyz", renamed(planted(), "REF_energy", "dft_forces"))
    keys = {"--energy-key": "REF_energy", "--forces-key": "dft_forces", option: typo}
    arguments = [item for pair in keys.items() for item in pair]
    status, said = run(capsys, *command, data, tmp_path / "o", *arguments)
    assert (status, len(said)) == (1, 1)
    label = "energy" if option == "--energy-key" else "forces"
    assert f"{data}: {label} key '{typo}': no frame has it; {meant}" in said[0]
    assert not (tmp_path / "o").exists()


def test_without_energies_the_keys_that_there_are_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = saved(tmp_path / "train.xyz", renamed(planted(), "REF_energy"))
    status, said = run(capsys, "scales", data, tmp_path / "o")
    assert (status, len(said)) == (1, 1)
    assert "energy is missing, in 40 of 40 frames; there are: REF_energy (--energy-key" in said[0]


def test_an_energy_that_one_frame_lacks_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = renamed(planted())
    del structures[7].info["REF_energy"]
    data = saved(tmp_path / "train.xyz", structures)
    status, said = run(capsys, "scales", data, tmp_path / "o", "--energy-key", "REF_energy")
    assert (status, len(said)) == (1, 1)
    assert "frame 7: energy key 'REF_energy' is missing, in 1 of 40 frames" in said[0]


@pytest.mark.parametrize("command", [["scales"], ["weights", "gap"]], ids=["scales", "weights"])
def test_a_column_of_forces_that_is_not_named_is_said(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`force` in the singular, as NEP has it, stays a column that ASE does not know."""
    data = saved(tmp_path / "train.xyz", renamed(planted(), "energy", "force"))
    status, said = run(capsys, *command, data, tmp_path / "o")
    assert status == 0
    line = about(said, "no frame has forces")
    assert "η, their scale, is left out; columns of three numbers: force (--forces-key" in line
    status, said = run(capsys, *command, data, tmp_path / "o", "--forces-key", "force")
    assert status == 0
    assert not [line for line in said if "η" in line]


def test_data_without_any_forces_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = saved(tmp_path / "train.xyz", renamed(planted(), "energy"))
    status, said = run(capsys, "scales", data, tmp_path / "o")
    assert status == 0
    assert about(said, "η").endswith("columns of three numbers: none")
    assert json.loads((tmp_path / "o").read_text())["force_scale"] == []


def test_a_frame_without_forces_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = planted()
    for k in (11, 30):
        del structures[k].calc.results["forces"]
    data = saved(tmp_path / "train.xyz", structures)
    status, said = run(capsys, "scales", data, tmp_path / "o")
    assert status == 0
    about(said, "2 of 40 structures have no forces", "frame 11", "η")
    assert json.loads((tmp_path / "o").read_text())["force_scale"] == []


def test_forces_that_are_all_zero_have_no_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = planted()
    for atoms in structures:
        atoms.calc.results["forces"] = np.zeros((len(atoms), 3))
    data = saved(tmp_path / "train.xyz", structures)
    status, said = run(capsys, "scales", data, tmp_path / "o")
    assert (status, len(said)) == (1, 1)
    assert "forces on H, C, O were all zero" in said[0]


@pytest.mark.parametrize(
    "value",
    [np.nan, np.inf, True, "text", None, [1.0, 2.0], {"a": 1}, 1j, [], 10**400],
    ids=lambda value: str(value)[:6],
)
def test_an_energy_is_one_finite_number(value: Any) -> None:
    structures = renamed(planted(3))
    structures[1].info["REF_energy"] = value
    with pytest.raises(PeslossError, match="frame 1: energy key 'REF_energy' is ") as caught:
        labelled(structures, "REF_energy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [3, 3.5, np.float32(3.5), np.array([3.5]), np.array(7)])
def test_numbers_of_any_kind_are_energies(value: Any) -> None:
    structures = renamed(planted(2))
    structures[1].info["REF_energy"] = value
    found = labelled(structures, "REF_energy").structures[1].get_potential_energy()
    assert found == float(np.asarray(value).item())


def test_forces_are_three_finite_numbers_for_each_atom() -> None:
    structures = planted(3)
    structures[2].calc.results["forces"][4, 1] = np.nan
    with pytest.raises(PeslossError, match="frame 2: the calculator's forces on atom 4 is "):
        labelled(structures)
    structures[2].calc.results["forces"] = np.zeros((len(structures[2]), 2))
    with pytest.raises(PeslossError, match="frame 2: shape of the calculator's forces is "):
        labelled(structures)


def test_rows_of_a_database_have_labels_in_dictionaries() -> None:
    """As `row.toatoms(add_additional_information=True)` gives them."""
    structures = planted(3)
    rows = [
        Atoms(
            atoms.numbers,
            atoms.positions,
            info={
                "data": {"dft": atoms.get_potential_energy(), "f": atoms.get_forces()},
                "key_value_pairs": {"origin": "mine"},
            },
        )
        for atoms in structures
    ]
    found = labelled(rows, "dft", "f").structures
    for atoms, given in zip(found, structures, strict=True):
        assert atoms.get_potential_energy() == given.get_potential_energy()
        assert np.array_equal(atoms.get_forces(), given.get_forces())
        assert atoms.info["origin"] == "mine"
    assert set(rows[0].info) == {"data", "key_value_pairs"}
    with pytest.raises(PeslossError, match="did you mean 'dft'"):
        labelled(rows, "DFT")


def test_the_frames_given_stay_as_they_are() -> None:
    structures = renamed(planted(2), "REF_energy", "REF_forces")
    structures[0].info["source"] = "mine"
    structures[0].calc = SinglePointCalculator(structures[0], energy=1.0)
    before = [(dict(atoms.info), sorted(atoms.arrays), atoms.calc) for atoms in structures]
    labelled(structures, "REF_energy", "REF_forces")
    assert [(dict(a.info), sorted(a.arrays), a.calc) for a in structures] == before
