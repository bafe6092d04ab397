"""Weights in a data file turn a code's loss into ours; MACE's own command line shows it."""

import json
import os
import subprocess
import sys
import warnings
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
from pesloss.adapters.weights import CODES, structure_weights, weighted
from pesloss.errors import PeslossError
from pesloss.losses import energy_loss, names
from pesloss.losses.presets import preset
from pesloss.losses.terms import EnergyForceLoss, EnergyTerm, ForceTerm, power, residuals
from pesloss.scales import Scales
from pesloss.statistics.scales import fit_structures

PYTHON = Path(sys.executable)


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
        mace, gap, nep = (
            weighted(tiny.structures[k : k + 1], scales, name)[0] for name in ("mace", "gap", "nep")
        )
        n = len(mace)
        assert mace.info["config_energy_weight"] == pytest.approx(n**2 / s**2)
        assert gap.info["energy_sigma"] == pytest.approx(s)
        assert gap.arrays["force_atom_sigma"].tolist() == [eta[x] for x in gap.symbols]
        assert nep.info["weight"] == pytest.approx(n**2 / s**2)
        assert not set(tiny.structures[k].info) & {"config_energy_weight", "weight", "energy_sigma"}


def test_an_unknown_code_or_species_is_named(tiny: Tiny) -> None:
    scales = fit_structures(tiny.structures)
    with pytest.raises(PeslossError, match="code is 'vasp'; allowed: mace, gap, nep"):
        weighted(tiny.structures, scales, "vasp")
    with pytest.raises(PeslossError, match="structure 0: species is 'Au'; allowed: Al, Cu"):
        weighted([Atoms("Au")], scales, "mace")


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
    for code_name in CODES:
        assert main(["weights", code_name, data, output, "--scales", scales, *KEYS]) == 0
        found = read(output, ":")
        expected = weighted(labelled(tiny.structures), Scales.read(scales), code_name)
        for one, other in zip(found, expected, strict=True):
            for key in ("config_energy_weight", "energy_sigma", "weight"):
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
    assert f"pesloss: {data}: cannot be read" in capsys.readouterr().err
    write(data, [atoms.copy() for atoms in tiny.structures])
    assert main(["scales", str(data), str(tmp_path / "s.json")]) == 1
    assert "structure 0: the calculator's energy is missing" in capsys.readouterr().err
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
