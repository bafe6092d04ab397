"""The command line checks what the workflow checks, and starts in no time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from planted import MEAN, SIGMA, isolated, planted, renamed, saved
from test_cli_labels import about, run

from pesloss.__main__ import main

SOURCE = str(Path(__file__).parents[1] / "src")


def scales_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_one_energy_that_is_absurd_is_named_and_no_part_of_the_scales(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of 120 energies is 550 eV off: the scales are those without it."""
    structures = planted(120)
    without = saved(tmp_path / "without.xyz", structures[:75] + structures[76:])
    structures[75].calc.results["energy"] += 550.0
    data = saved(tmp_path / "train.xyz", structures)
    run(capsys, "scales", without, tmp_path / "expected")
    status, said = run(capsys, "scales", data, tmp_path / "found")
    assert status == 0
    about(said, "frame 75", "left out by energy")
    assert scales_of(tmp_path / "found") == scales_of(tmp_path / "expected")
    status, said = run(capsys, "weights", "gap", data, tmp_path / "o.xyz")
    assert status == 0
    about(said, "frame 75")
    about(said, "the file keeps it with weights")
    sigma = [atoms.info["energy_sigma"] for atoms in read(tmp_path / "o.xyz", ":")]
    assert len(sigma) == 120
    n_atoms = np.array([len(atoms) for atoms in structures])
    assert sigma == pytest.approx(SIGMA * np.sqrt(n_atoms), rel=0.6)


@pytest.mark.parametrize("command", [["scales"], ["weights", "nep"]], ids=["scales", "weights"])
def test_isolated_atoms_are_named_and_compared_with_the_means(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = planted(120)
    e0 = {"H": MEAN["H"] + 2.5, "C": MEAN["C"] + 7.0, "O": MEAN["O"] + 4.0}
    alone = [isolated(symbol, energy) for symbol, energy in e0.items()]
    with_them = saved(tmp_path / "with.xyz", [alone[0], *structures, *alone[1:]])
    without = saved(tmp_path / "without.xyz", structures)
    run(capsys, "scales", without, tmp_path / "expected")
    status, said = run(capsys, *command, with_them, tmp_path / "o")
    assert status == 0
    named = ("frame 0 (H)", "frame 121 (C)", "frame 122 (O)")
    about(said, "3 isolated atoms are reference energies (E0)", *named)
    for symbol, energy in e0.items():
        about(said, f"{symbol}: E0 {energy:.4f} eV", "μ", "cohesion")
    if command == ["scales"]:
        assert scales_of(tmp_path / "o") == scales_of(tmp_path / "expected")
        return
    found = [atoms.info["energy_weight"] for atoms in read(tmp_path / "o", ":", format="extxyz")]
    assert [found[0], *found[-2:]] == [0, 0, 0]
    n_atoms = np.array([len(atoms) for atoms in structures])
    assert np.sqrt(n_atoms / found[1:-2]) == pytest.approx(np.full(120, SIGMA), rel=0.6)


def test_isolated_atoms_stay_as_mace_and_gap_want_them(tmp_path: Path) -> None:
    alone = isolated("Au", -3.2)  # of an element that no other frame has
    data = saved(tmp_path / "train.xyz", [alone, *planted()])
    for code in ("mace", "gap"):
        assert main(["weights", code, str(data), str(tmp_path / "o.xyz")]) == 0
        first: Any = read(tmp_path / "o.xyz", 0)
        assert first.info == {"config_type": "IsolatedAtom"}
        assert first.get_potential_energy() == -3.2
        assert "force_atom_sigma" not in first.arrays


def test_nothing_but_isolated_atoms_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = saved(tmp_path / "train.xyz", [isolated("H", -13.6), isolated("O", -2041.0)])
    status, said = run(capsys, "scales", data, tmp_path / "o")
    assert (status, len(said)) == (1, 1)
    assert f"{data}: no structure is left of 2: 2 isolated atoms" in said[0]


def test_means_that_cannot_be_told_apart_and_one_size_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = planted(40, species=("H",))
    for atoms in structures:
        atoms.symbols[: len(atoms) // 2 * 2 : 2] = "O"
        del atoms[len(atoms) // 2 * 2 :]
        n = len(atoms) // 2
        energy = n * (MEAN["H"] + MEAN["O"]) + np.sin(atoms.positions.sum())
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
    data = saved(tmp_path / "train.xyz", structures)
    status, said = run(capsys, "scales", data, tmp_path / "o")
    assert status == 0
    about(said, "means cannot be told apart", "H, O")

    rng = np.random.default_rng(2)
    equal = [atoms for atoms in planted(300) if len(atoms) == 20]
    for atoms in equal:
        atoms.calc.results["energy"] += float(rng.normal())
    data = saved(tmp_path / "equal.xyz", equal)
    status, said = run(capsys, "scales", data, tmp_path / "o")
    assert status == 0
    about(said, f"all {len(equal)} structures have 20 atoms")


def test_few_compositions_take_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the information of the fit is singular, more structures are needed."""
    formulas = ["H100W50"] * 3 + ["C8"] * 3 + ["Cu2"]
    energies = [-748.7302, -746.9812, -748.7859, -65.1058, -63.2318, -63.6212, -6.2278]
    rng = np.random.default_rng(3)
    structures = []
    for formula, energy in zip(formulas, energies, strict=True):
        atoms = Atoms(formula)
        grid = np.array([(x, y, z) for x in range(6) for y in range(6) for z in range(6)])
        atoms.positions = 2.2 * grid[: len(atoms)] + rng.normal(0, 0.05, (len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        structures.append(atoms)
    data = saved(tmp_path / "train.xyz", structures)
    status, said = run(capsys, "scales", data, tmp_path / "o")
    assert (status, len(said)) == (1, 1)
    assert "7 structures of 3 compositions fix 3 means and leave 4 energies for 4 scales" in said[0]
    assert "more structures are needed, at least 8" in said[0]


def test_ghost_atoms_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    structures = planted()
    structures[5].symbols[2] = "X"
    data = saved(tmp_path / "train.xyz", structures)
    status, said = run(capsys, "scales", data, tmp_path / "o")
    assert status == 0
    about(said, "frame 5", "X")
    assert scales_of(tmp_path / "o")["species"] == ["H", "C", "O"]
    status, said = run(capsys, "weights", "mace", data, tmp_path / "o.xyz")
    assert (status, len(said)) == (1, 1)
    assert "structure 5: species is 'X'; allowed: H, C, O" in said[0]


def test_units_that_do_not_fit_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Forces without relation to the energies: a word, as in the workflow."""
    structures = []
    for seed in range(4):
        base = planted(1, seed)[0]
        for step in range(8):
            atoms = base.copy()
            atoms.positions += 0.01 * step
            atoms.positions[0] += 0.01 * step
            energy = base.get_potential_energy() - 27.2 * 0.01 * step
            forces = np.zeros((len(atoms), 3))
            forces[0] = 1 / 3 + 1e-3 * step
            forces[1] = -forces[0]
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            structures.append(atoms)
    data = saved(tmp_path / "train.xyz", structures)
    _, said = run(capsys, "scales", data, tmp_path / "o")
    about(said, "units: ", "times the work of the forces")


def test_weights_of_given_scales_check_the_data_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = planted(120)
    data = saved(tmp_path / "train.xyz", structures)
    run(capsys, "scales", data, tmp_path / "s.json")
    structures[75].calc.results["energy"] += 550.0
    other = saved(tmp_path / "valid.xyz", structures)
    given = ["--scales", tmp_path / "s.json"]
    status, said = run(capsys, "weights", "mace", other, tmp_path / "o.xyz", *given)
    assert status == 0
    about(said, "frame 75")
    bare = saved(tmp_path / "bare.xyz", renamed(structures))
    status, said = run(capsys, "weights", "mace", bare, tmp_path / "p.xyz", *given)
    assert status == 0
    about(said, "labels are not checked", "REF_energy")
    found, expected = (read(tmp_path / name, ":") for name in ("p.xyz", "o.xyz"))
    key = "config_energy_weight"
    assert [a.info[key] for a in found] == [a.info[key] for a in expected]


def test_nep_reads_labels_under_one_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file may have `energy` of another level beside the one that was weighted."""
    data = saved(tmp_path / "train.xyz", renamed(planted(), "REF_energy", "forces"))
    keys = ["--energy-key", "REF_energy", "--forces-key", "forces"]
    said = run(capsys, "weights", "nep", data, tmp_path / "o.xyz", *keys)[1]
    about(said, "NEP reads energies as energy; here they are REF_energy")
    assert not [line for line in said if "NEP reads forces" in line]
    said = run(capsys, "weights", "mace", data, tmp_path / "o.xyz", *keys)[1]
    assert not [line for line in said if "reads energies" in line]


def test_older_nep_is_an_option_of_nep_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = saved(tmp_path / "train.xyz", planted())
    status, said = run(capsys, "weights", "nep", data, tmp_path / "now.xyz")
    assert status == 0
    about(said, "energy_weight", "forces and virials stay as they are", "--older-nep")
    older = run(capsys, "weights", "nep", data, tmp_path / "older.xyz", "--older-nep")
    assert older[0] == 0
    about(older[1], "squared errors of forces count (N/s_k)² times as much")
    now, before = (read(tmp_path / name, ":") for name in ("now.xyz", "older.xyz"))
    for new, old in zip(now, before, strict=True):
        assert new.info["energy_weight"] == pytest.approx(old.info["weight"] ** 2)
    status, said = run(capsys, "weights", "gap", data, tmp_path / "no.xyz", "--older-nep")
    assert (status, len(said)) == (1, 1)
    assert "--older-nep: the code is gap; allowed: nep" in said[0]


RUN = """
import sys
from pesloss.__main__ import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(*sys.modules)
"""


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        (["scales", "train.xyz", "s.json"], {"torch", "matplotlib", "snakemake"}),
        (["--help"], {"torch", "ase", "numpy", "pandas", "scipy"}),
        (["weights", "--help"], {"torch", "ase", "numpy", "pandas", "scipy"}),
    ],
    ids=["scales", "help", "help of weights"],
)
def test_commands_load_what_they_need(command: list[str], absent: set[str], tmp_path: Path) -> None:
    """Loading torch takes seconds, and neither help nor scales need it."""
    saved(tmp_path / "train.xyz", planted())
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "pesloss.__main__" in loaded
    assert not loaded & absent


def test_more_seeds_without_the_suite_takes_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "pesloss.plan.seeds", raising=False)
    monkeypatch.setitem(sys.modules, "yaml", None)
    status, said = run(capsys, "more-seeds", "depth")
    assert (status, len(said)) == (1, 1)
    assert "needs yaml: pip install 'pesloss[suite]'" in said[0]
