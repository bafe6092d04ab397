"""Weights in a data file turn a code's loss into ours; MACE's own command line shows it."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read, write
from batches import SCALES, sample
from codes import code
from conftest import Tiny

from pesloss.__main__ import main
from pesloss.adapters.weights import CODES, notes, structure_weights, weighted
from pesloss.job.errors import PeslossError
from pesloss.losses import energy_loss, names
from pesloss.losses.presets import preset
from pesloss.losses.terms import EnergyForceLoss, EnergyTerm, ForceTerm, power, residuals
from pesloss.scales.scales import Scales
from pesloss.scales.training_set import fit_structures

PYTHON = Path(sys.executable)
WRITTEN = {"config_energy_weight", "energy_sigma", "energy_weight", "weight"}


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", names("energy"))
def test_weights_turn_one_loss_into_another(name: str, exponent: float) -> None:
    data = sample(1)
    counts = residuals(SCALES, data.energy, data.numbers, data.owner)[0]
    weight = structure_weights(counts, energy_loss(name)(SCALES), exponent)
    theirs = EnergyForceLoss(power(exponent), ForceTerm())
    ours = EnergyForceLoss(EnergyTerm(energy_loss(name)(SCALES)), ForceTerm())
    found = theirs(*data, energy_weight=torch.as_tensor(weight))
    assert float(found) == pytest.approx(float(ours(*data)), rel=1e-12)


def test_every_code_writes_its_own_names(tiny: Tiny) -> None:
    scales = fit_structures(tiny.structures)
    scale = energy_loss("standardized")(scales).scale(
        torch.as_tensor(scales.composition(tiny.structures), dtype=torch.float64)
    )
    eta = dict(zip(scales.species, scales.force_scale, strict=True))
    for k, s in enumerate(scale.tolist()):
        gap, mace, nep, older = (
            weighted(tiny.structures[k : k + 1], scales, name)[0] for name in sorted(CODES)
        )
        n = len(mace)
        assert mace.info["config_energy_weight"] == pytest.approx(n**2 / s**2)
        assert gap.info["energy_sigma"] == pytest.approx(s)
        assert gap.arrays["force_atom_sigma"].tolist() == [eta[x] for x in gap.symbols]
        assert nep.info["energy_weight"] == pytest.approx(n**2 / s**2)
        assert older.info["weight"] == pytest.approx(n / s)
        assert not set(tiny.structures[k].info) & WRITTEN


def test_an_unknown_code_or_species_is_named(tiny: Tiny) -> None:
    scales = fit_structures(tiny.structures)
    with pytest.raises(PeslossError, match="code is 'vasp'; allowed: gap, mace, nep, nep_older"):
        weighted(tiny.structures, scales, "vasp")
    with pytest.raises(PeslossError, match="structure 0: species is 'Au'; allowed: Al, Cu"):
        weighted([Atoms("Au2")], scales, "mace")


@pytest.mark.parametrize(
    ("code_name", "given", "kept"),
    [
        ("nep", ["weight", "Weight", "ENERGY_WEIGHT"], {"energy_weight"}),
        ("nep_older", ["Weight", "energy_weight"], {"weight"}),
        ("mace", ["config_weight", "Config_Energy_Weight"], {"config_energy_weight"}),
        ("gap", ["Energy_sigma", "energy_sigma"], {"energy_sigma"}),
    ],
)
def test_weights_that_a_file_has_already_are_replaced_and_named(
    code_name: str, given: list[str], kept: set[str]
) -> None:
    """One of each name, in any case of letters: codes would multiply them, or take the last."""
    atoms = Atoms("CO2", info={**dict.fromkeys(given, 7.0), "config_type": "mine"})
    plain = weighted([Atoms("CO2")], SCALES, code_name)[0]
    found = weighted([atoms], SCALES, code_name)[0]
    assert set(found.info) == kept | {"config_type"}
    assert found.info.items() >= plain.info.items()
    said = " ".join(notes([atoms], SCALES, code_name))
    assert all(f"{name} of 1 frames is taken out" in said for name in given)
    assert set(atoms.info) == {*given, "config_type"}


def test_scales_of_force_components_give_way_to_those_of_atoms() -> None:
    """gap_fit would read force_component_sigma in place of force_atom_sigma."""
    atoms = Atoms("CO")
    atoms.arrays["force_component_sigma"] = np.ones((2, 3))
    found = weighted([atoms], SCALES, "gap")[0]
    assert "force_component_sigma" not in found.arrays
    without = weighted([atoms], replace(SCALES, force_scale=()), "gap")[0]
    assert "force_component_sigma" in without.arrays
    assert "force_atom_sigma" not in without.arrays


@pytest.mark.parametrize("code_name", sorted(CODES))
def test_isolated_atoms_are_left_as_the_code_wants_them(code_name: str) -> None:
    """Also of a species that has no scale: E0 of every element stands in some files."""
    alone = [Atoms("H", info={"config_type": "IsolatedAtom"}), Atoms("Au")]
    molecule, crystal = Atoms("CO2"), Atoms("C", cell=[2.0, 2.0, 2.0], pbc=True)
    found = weighted([alone[0], molecule, alone[1], crystal], SCALES, code_name)
    rest = weighted([molecule, crystal], SCALES, code_name)
    if code_name == "nep_older":  # which takes no weight of zero
        assert [len(atoms) for atoms in found] == [3, 1]
        assert [atoms.info for atoms in found] == [atoms.info for atoms in rest]
        return
    assert [found[1].info, found[3].info] == [atoms.info for atoms in rest]
    own = {"energy_weight": 0.0} if code_name == "nep" else {}
    assert [found[0].info, found[2].info] == [{**alone[0].info, **own}, own]
    assert "force_atom_sigma" not in found[0].arrays
    said = [line for line in notes([*alone, molecule], SCALES, code_name) if "isolated" in line]
    assert "2 isolated atoms (frame 0 (H), frame 1 (Au))" in said[-1]


def test_weights_beyond_what_older_nep_takes_share_one_factor() -> None:
    """NEP stops at a weight above 100; a factor of all weights changes no minimum."""
    scales = replace(SCALES, local_energy_scale=(1e-3, 2e-3, 4e-3))
    structures = [Atoms("CO2"), Atoms("H40"), Atoms("C100O7")]
    found = [atoms.info["weight"] for atoms in weighted(structures, scales, "nep_older")]
    n_atoms = np.array([3, 40, 107])
    s = np.sqrt(np.array([4 + 2 * 16, 40, 100 * 4 + 7 * 16])) * 1e-3
    assert found == pytest.approx((n_atoms / s / 100).tolist())
    assert max(found) <= 100
    line = notes(structures, scales, "nep_older")[-1]
    assert line.startswith("all weight are divided by 100: the largest would be 6325")


@pytest.mark.parametrize("sigma", [1e-25, 1e25])
def test_weights_that_vanish_or_overflow_are_refused(sigma: float) -> None:
    scales = replace(SCALES, local_energy_scale=(0.3, sigma, 0.3))
    with pytest.raises(PeslossError, match=r"structure 1: weight is .*; allowed: positive"):
        weighted([Atoms("H2"), Atoms("C2")], scales, "nep")


def labelled(structures: list[Atoms]) -> list[Atoms]:
    """The structures with their labels under the names that MACE expects."""
    copies = []
    for atoms in structures:
        copy = atoms.copy()
        copy.info["REF_energy"] = atoms.get_potential_energy()
        copy.arrays["REF_forces"] = atoms.get_forces()
        copies.append(copy)
    return copies


KEYS = ["--energy-key", "REF_energy", "--forces-key", "REF_forces"]


def test_command_line_writes_scales_and_weights(tiny: Tiny, tmp_path: Path) -> None:
    data, scales, output = (str(tmp_path / n) for n in ("in.xyz", "scales.json", "out.xyz"))
    write(data, labelled(tiny.structures))
    assert main(["scales", data, scales, *KEYS]) == 0
    own = fit_structures(labelled(tiny.structures), "REF_energy", "REF_forces")
    kept = Scales.read(scales)
    for name in ("mean", "local_energy_scale", "shared_scale", "force_scale"):
        # the file keeps eight decimals of positions and forces
        assert getattr(kept, name) == pytest.approx(getattr(own, name), rel=1e-6)
    for code_name in ("gap", "mace", "nep"):
        assert main(["weights", code_name, data, output, "--scales", scales, *KEYS]) == 0
        found = read(output, ":")
        expected = weighted(labelled(tiny.structures), Scales.read(scales), code_name)
        for one, other in zip(found, expected, strict=True):
            for key in WRITTEN:
                assert (key in one.info) == (key in other.info)
                if key in one.info:
                    assert one.info[key] == pytest.approx(other.info[key], rel=1e-7)
            assert np.allclose(one.arrays["REF_forces"], other.arrays["REF_forces"], atol=1e-7)
    assert main(["weights", "mace", data, output, *KEYS]) == 0
    assert main(["presets", str(tmp_path / "presets.md")]) == 0


def test_command_line_names_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: Tiny
) -> None:
    data = tmp_path / "in.xyz"
    assert main(["scales", str(data), str(tmp_path / "s.json")]) == 1
    assert f"pesloss: {data}: no such file" in capsys.readouterr().err
    write(data, [atoms.copy() for atoms in tiny.structures])
    assert main(["scales", str(data), str(tmp_path / "s.json")]) == 1
    assert (
        "frame 0: the calculator's energy is missing, in 40 of 40 frames" in capsys.readouterr().err
    )
    assert not (tmp_path / "s.json").exists()


MACE = [
    "--name=mace", "--model=MACE", "--E0s=average", "--hidden_irreps=4x0e", "--num_channels=4",
    "--max_L=0", "--num_interactions=1", "--correlation=1", "--max_ell=1", "--r_max=4.0",
    "--batch_size=8", "--valid_batch_size=64", "--max_num_epochs=1", "--eval_interval=1",
    "--device=cpu", "--default_dtype=float64", "--seed=1", "--loss=weighted", "--energy_weight=3",
    "--forces_weight=7", "--energy_key=REF_energy", "--forces_key=REF_forces", "--lr=0.001",
    "--num_workers=0",
]  # fmt: skip


def mace_predictions(model: Path, structures: list[Atoms]) -> tuple[torch.Tensor, torch.Tensor]:
    """Energies (S,) and forces (A, 3) by MACE's calculator, which loads whole models."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        calculator = code("mace.calculators").MACECalculator(
            model_paths=str(model), device="cpu", default_dtype="float64"
        )
        energies = [calculator.get_potential_energy(atoms) for atoms in structures]
        forces = [calculator.get_forces(atoms) for atoms in structures]
    torch.set_default_dtype(torch.float32)  # the calculator changes it
    return torch.tensor(energies, dtype=torch.float64), torch.tensor(np.concatenate(forces))


def test_mace_minimises_the_standardized_loss(tiny: Tiny, tmp_path: Path) -> None:
    """One epoch of MACE's own command on a weighted file: its loss is the one we predict."""
    code("mace.cli.run_train")
    structures = labelled(tiny.structures)
    train, valid = structures[:28], structures[28:]
    scales = fit_structures(train, "REF_energy", "REF_forces")
    write(tmp_path / "train.xyz", weighted(train, scales, "mace"))
    write(tmp_path / "valid.xyz", weighted(valid, scales, "mace"))
    command = [str(PYTHON.parent / "mace_run_train"), *MACE]
    files = ["--train_file=train.xyz", "--valid_file=valid.xyz"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = next((tmp_path / "results").glob("*_train.txt")).read_text().splitlines()
    logged = [line for line in map(json.loads, lines) if line["mode"] == "eval"][-1]
    assert logged["epoch"] == 0

    arguments = (
        *mace_predictions(tmp_path / "mace.model", valid),
        torch.tensor([a.info["REF_energy"] for a in valid], dtype=torch.float64),
        torch.tensor(np.concatenate([a.arrays["REF_forces"] for a in valid])),
        torch.tensor(np.concatenate([a.numbers for a in valid])),
        torch.repeat_interleave(torch.arange(len(valid)), torch.tensor([len(a) for a in valid])),
    )
    weight = structure_weights(
        scales.composition(valid).astype(float), energy_loss("standardized")(scales), 2
    )
    through_weights = preset("mace_weighted").weighted(3, 7)(
        *arguments, energy_weight=torch.as_tensor(weight)
    )
    standardized = EnergyTerm(energy_loss("standardized")(scales), weight=3)
    directly = EnergyForceLoss(standardized, ForceTerm(weight=7))(*arguments)
    assert float(through_weights) == pytest.approx(float(directly), rel=1e-12)
    # MACE divides the loss of a validation batch, a mean already, by its structures once more
    # (mace/tools/train.py, MACELoss); the file keeps eight decimals of positions and forces.
    assert logged["loss"] * len(valid) == pytest.approx(float(directly), rel=1e-7)
