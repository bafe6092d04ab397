"""SchNetPack trains under our losses, from Python and from its command line."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning
import torch
import yaml
from conftest import SPECIES, Tiny

from pesloss.adapters.schnetpack import AtomisticTask, EnergyOutput, ForceOutput, schnetpack
from pesloss.job.errors import PeslossError
from pesloss.losses.terms import energy_force_loss
from pesloss.scales.scales import Scales
from pesloss.scales.training_set import fit_structures

TRAIN, VALIDATION = 24, 8

# SchNetPack's neighbour list hands tensors to ASE, which NumPy 2 would rather be told about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SchNetPack leaves a lock file in the working folder."""
    monkeypatch.chdir(tmp_path)


def database(tiny: Tiny, folder: Path) -> Path:
    """The tiny structures as SchNetPack keeps them."""
    path = folder / "tiny.db"
    data = schnetpack.data.ASEAtomsData.create(
        str(path), distance_unit="Ang", property_unit_dict={"energy": "eV", "forces": "eV/Ang"}
    )
    labels = [
        {"energy": np.array([a.get_potential_energy()]), "forces": a.get_forces()}
        for a in tiny.structures
    ]
    data.add_systems(labels, tiny.structures)
    np.savez(
        folder / "split.npz",
        train_idx=np.arange(TRAIN),
        val_idx=np.arange(TRAIN, TRAIN + VALIDATION),
        test_idx=np.arange(TRAIN + VALIDATION, 40),
    )
    return path


def data_module(tiny: Tiny, folder: Path) -> Any:
    transform = schnetpack.transform
    return schnetpack.data.AtomsDataModule(
        str(database(tiny, folder)),
        batch_size=VALIDATION,
        num_train=TRAIN,
        num_val=VALIDATION,
        split_file=str(folder / "split.npz"),
        transforms=[
            transform.RemoveOffsets("energy", remove_mean=True),
            transform.ASENeighborList(cutoff=4.0),
            transform.CastTo32(),
        ],
        num_workers=0,
        pin_memory=False,
    )


def network() -> Any:
    nn, atomistic = schnetpack.nn, schnetpack.atomistic
    return schnetpack.model.NeuralNetworkPotential(
        representation=schnetpack.representation.SchNet(
            n_atom_basis=8,
            n_interactions=1,
            radial_basis=nn.GaussianRBF(n_rbf=6, cutoff=4.0),
            cutoff_fn=nn.CosineCutoff(4.0),
        ),
        input_modules=[atomistic.PairwiseDistances()],
        output_modules=[atomistic.Atomwise(n_in=8, output_key="energy"), atomistic.Forces()],
        postprocessors=[schnetpack.transform.AddOffsets("energy", add_mean=True)],
    )


def task_of(outputs: list[Any], kind: Any = AtomisticTask) -> Any:
    """A task; Lightning warns that SchNetPack keeps the model among its hyperparameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(network(), outputs, torch.optim.Adam, {"lr": 1e-3})


def trained(task: Any, data: Any, folder: Path) -> float:
    """Train two epochs with Lightning and return the last validation loss."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning, about workers, loggers and batch sizes
        trainer = pytorch_lightning.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
            default_root_dir=folder, inference_mode=False,
        )  # fmt: skip
        trainer.fit(task, datamodule=data)
        return float(trainer.callback_metrics["val_loss"])


def expected(model: Any, batches: Any, scales: Scales, energy: str, forces: str) -> float:
    """The same loss by our own function, from the model's predictions."""
    total, weight = 0.0, 0
    model.do_postprocessing = False
    for batch in batches:
        target = {name: batch[name].clone() for name in ("energy", "forces")}
        predicted = model(batch)
        loss = energy_force_loss(scales, energy, forces, force_weight=0.5)
        value = loss(
            predicted["energy"].detach(),
            predicted["forces"].detach(),
            target["energy"],
            target["forces"],
            batch["_atomic_numbers"],
            batch["_idx_m"],
        )
        total += float(value) * len(target["energy"])
        weight += len(target["energy"])
    return total / weight


@pytest.mark.parametrize(
    ("energy", "forces"), [("standardized", "standardized"), ("correlated", "raw"), ("raw", "raw")]
)
def test_a_training_from_python(energy: str, forces: str, tiny: Tiny, tmp_path: Path) -> None:
    torch.manual_seed(1)
    data = data_module(tiny, tmp_path)
    outputs = [EnergyOutput("energy", energy), ForceOutput("forces", forces, loss_weight=0.5)]
    task = task_of(outputs)
    found = trained(task, data, tmp_path)
    scales = task.outputs[0].scales
    own = fit_structures(tiny.structures[:TRAIN])
    assert scales.species == SPECIES
    assert scales.local_energy_scale == pytest.approx(own.local_energy_scale, rel=1e-4)
    assert scales.force_scale == pytest.approx(own.force_scale, rel=1e-4)
    by_hand = expected(task.model, data.val_dataloader(), scales, energy, forces)
    assert found == pytest.approx(by_hand, rel=1e-5)


def test_scales_from_a_file_are_used(tiny: Tiny, tmp_path: Path) -> None:
    scales = fit_structures(tiny.structures)
    scales.write(tmp_path / "scales.json")
    outputs = [
        EnergyOutput("energy", "standardized", tmp_path / "scales.json"),
        ForceOutput("forces", "standardized", tmp_path / "scales.json"),
    ]
    task = task_of(outputs)
    trained(task, data_module(tiny, tmp_path), tmp_path)
    assert [output.scales for output in task.outputs] == [scales, scales]


def test_schnetpacks_own_task_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    outputs = [EnergyOutput("energy", "per_atom"), ForceOutput("forces", "raw")]
    own = task_of(outputs, schnetpack.task.AtomisticTask)
    with pytest.raises(PeslossError, match=r"use pesloss\.adapters\.schnetpack\.AtomisticTask"):
        trained(own, data_module(tiny, tmp_path), tmp_path)


def test_forces_alone_need_scales(tiny: Tiny, tmp_path: Path) -> None:
    task = task_of([ForceOutput("forces")])
    with pytest.raises(PeslossError, match="scales cannot be fitted without an EnergyOutput"):
        trained(task, data_module(tiny, tmp_path), tmp_path)


EXPERIMENT = """
# @package _global_
defaults:
  - override /model: nnp
  - override /logger: csv
globals: {cutoff: 4.0, lr: 1e-3}
data:
  distance_unit: Ang
  property_units: {energy: eV, forces: eV/Ang}
  transforms:
    - {_target_: schnetpack.transform.RemoveOffsets, property: energy, remove_mean: true}
    - {_target_: schnetpack.transform.ASENeighborList, cutoff: 4.0}
    - {_target_: schnetpack.transform.CastTo32}
model:
  representation: {n_atom_basis: 8, n_interactions: 1}
  output_modules:
    - {_target_: schnetpack.atomistic.Atomwise, output_key: energy, n_in: 8}
    - {_target_: schnetpack.atomistic.Forces, energy_key: energy, force_key: forces}
  postprocessors:
    - {_target_: schnetpack.transform.AddOffsets, property: energy, add_mean: true}
"""


def page_example() -> str:
    """The task as the page for SchNetPack users shows it."""
    page = Path(__file__).parents[1] / "docs" / "trainers" / "schnetpack.md"
    text = page.read_text(encoding="utf-8")
    return text.split("```yaml\n")[1].split("```")[0]


def test_a_training_from_the_command_line(tiny: Tiny, tmp_path: Path) -> None:
    path = database(tiny, tmp_path)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "tiny.yaml").write_text(EXPERIMENT + page_example())
    assert yaml.safe_load(page_example())["task"]["outputs"][0]["loss"] == "standardized"
    command = [
        sys.executable, "-m", "pesloss.adapters.spktrain", "experiment=tiny",
        f"run.data_dir={tmp_path}", f"data.datapath={path}",
        f"+data.split_file={tmp_path}/split.npz",
        f"data.num_train={TRAIN}", f"data.num_val={VALIDATION}", f"data.batch_size={VALIDATION}",
        "data.num_workers=0", "+data.pin_memory=false", "trainer.max_epochs=2",
        "+trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "task.scheduler_cls=null",
        "~callbacks.ema", "~callbacks.lr_monitor", "run.id=run", f"run.path={tmp_path}",
        "print_config=false", "+seed=1",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PWD": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    }
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = pd.concat(map(pd.read_csv, (tmp_path / "run").rglob("metrics.csv")))
    logged = float(metrics.val_loss.dropna().min())
    model = torch.load(tmp_path / "run" / "best_model", weights_only=False)
    scales = fit_structures(tiny.structures[:TRAIN])
    (tmp_path / "again").mkdir()
    data = data_module(tiny, tmp_path / "again")
    data.prepare_data()
    data.setup()
    loss_of_both = expected_one_to_one(model, data.val_dataloader(), scales)
    assert logged == pytest.approx(loss_of_both, rel=1e-3)


def expected_one_to_one(model: Any, batches: Any, scales: Scales) -> float:
    model.do_postprocessing = False
    (batch,) = list(batches)
    target = {name: batch[name].clone() for name in ("energy", "forces")}
    predicted = model(batch)
    value = energy_force_loss(scales)(
        predicted["energy"].detach(), predicted["forces"].detach(), target["energy"],
        target["forces"], batch["_atomic_numbers"], batch["_idx_m"],
    )  # fmt: skip
    return float(value)
