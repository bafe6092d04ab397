"""graph-pes trains under our losses from its YAML."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from ase import Atoms
from ase.io import write
from codes import code
from conftest import Tiny

from pesloss.losses.terms import energy_force_loss
from pesloss.scales.training_set import fit_structures

CONFIG = """
model:
  +SchNet: {cutoff: 4.0, channels: 8, expansion_features: 6, layers: 1}
data: {train: train.xyz, valid: valid.xyz}
fitting:
  trainer_kwargs: {max_epochs: 2, accelerator: cpu, enable_model_summary: false}
  loader_kwargs: {batch_size: 32, num_workers: 0, persistent_workers: false}
general: {root_dir: out, run_id: run, progress: logged}
wandb: null
"""


def page_example() -> str:
    """The losses as the page for graph-pes users shows them."""
    page = Path(__file__).parents[1] / "docs" / "trainers" / "graph_pes.md"
    return page.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]


def plain(structures: list[Atoms]) -> list[Atoms]:
    """Without the names of structures, which graph-pes would try to batch."""
    copies = []
    for atoms in structures:
        copy = atoms.copy()
        copy.info, copy.calc = {}, atoms.calc
        copies.append(copy)
    return copies


def test_a_training_from_yaml(tiny: Tiny, tmp_path: Path) -> None:
    graph_pes = code("graph_pes")
    train, valid = plain(tiny.structures[:30]), plain(tiny.structures[30:])
    write(tmp_path / "train.xyz", train)
    write(tmp_path / "valid.xyz", valid)
    (tmp_path / "config.yaml").write_text(CONFIG + page_example())
    assert set(yaml.safe_load(page_example())["loss"]) == {"energy", "forces"}
    command = [str(Path(sys.executable).parent / "graph-pes-train"), "config.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    metrics = pd.concat(map(pd.read_csv, (tmp_path / "out").rglob("metrics.csv")))
    logged = float(metrics["valid/loss/total"].dropna().min())

    model = code("graph_pes.models").load_model(tmp_path / "out" / "run" / "model.pt")
    graphs = [graph_pes.AtomicGraph.from_ase(atoms, cutoff=4.0) for atoms in valid]
    batch = graph_pes.atomic_graph.to_batch(graphs)
    predicted = model.predict(batch, ["energy", "forces"])
    loss = energy_force_loss(fit_structures(train))
    value = loss(
        predicted["energy"].detach(),
        predicted["forces"].detach(),
        batch.properties["energy"].to(predicted["energy"].dtype),
        batch.properties["forces"],
        batch.Z.long(),
        batch.batch,
    )
    assert logged == pytest.approx(float(value), rel=1e-4)


@pytest.mark.parametrize("name", ["raw", "per_atom", "standardized", "correlated"])
def test_losses_are_those_of_plain_torch(name: str, tiny: Tiny) -> None:
    code("graph_pes")
    from graph_pes import AtomicGraph
    from graph_pes.atomic_graph import to_batch

    from pesloss.adapters.graph_pes import EnergyLoss, ForceLoss

    graphs = [AtomicGraph.from_ase(atoms, cutoff=4.0) for atoms in plain(tiny.structures)]
    batch = to_batch(graphs)
    energy, forces = EnergyLoss(name), ForceLoss("standardized", metric="huber", delta=0.1)
    for loss in (energy, forces):
        loss.pre_fit(batch)
    rng = torch.Generator().manual_seed(1)
    predicted = {
        key: batch.properties[key] + torch.randn(batch.properties[key].shape, generator=rng)
        for key in ("energy", "forces")
    }
    scales = fit_structures(tiny.structures)
    ours = energy_force_loss(scales, name, "standardized").terms(
        predicted["energy"], predicted["forces"], batch.properties["energy"],
        batch.properties["forces"], batch.Z.long(), batch.batch,
    )  # fmt: skip
    assert float(energy(None, batch, predicted)) == pytest.approx(float(ours.energy), rel=1e-5)
    assert forces.is_per_atom
    assert not energy.is_per_atom
    assert energy.name == f"energy_{name}_mse"
    assert energy.required_properties == ["energy"]
    assert forces.scales is not None
    assert forces.scales.force_scale == pytest.approx(scales.force_scale, rel=1e-5)


def test_a_root_mean_square_is_the_root(tiny: Tiny) -> None:
    code("graph_pes")
    from graph_pes import AtomicGraph
    from graph_pes.atomic_graph import to_batch

    from pesloss.adapters.graph_pes import EnergyLoss

    batch = to_batch([AtomicGraph.from_ase(a, cutoff=4.0) for a in plain(tiny.structures)])
    predicted = {"energy": batch.properties["energy"] + 0.3}
    square, root = EnergyLoss("per_atom"), EnergyLoss("per_atom", reduction="root_mean")
    found = [float(loss(None, batch, predicted)) for loss in (square, root)]
    assert found[1] == pytest.approx(found[0] ** 0.5)
