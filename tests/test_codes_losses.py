"""Presets give what the codes' own loss classes give on the same batches."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Sample, sample
from codes import code

from pesloss.losses.presets import preset
from pesloss.losses.terms import EnergyForceLoss
from pesloss.model.schnetpack_import import import_schnetpack

SEEDS = range(5)
RELATIVE = 1e-6


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """Their buffers and sums follow the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def ours(name: str, data: Sample, *weights: torch.Tensor) -> tuple[float, list[float]]:
    """Value of a preset, and its gradients by energies and forces on the first structure."""
    leaves = (data.energy.clone().requires_grad_(), data.forces.clone().requires_grad_())
    value = preset(name)(*leaves, *data[2:], *weights)
    return float(value.detach()), gradients(value, leaves)


def gradients(value: torch.Tensor, leaves: tuple[torch.Tensor, torch.Tensor]) -> list[float]:
    energy, forces = torch.autograd.grad(value, leaves)
    return [*energy.tolist(), *forces[:5].reshape(-1).tolist()]


def agree(found: tuple[float, list[float]], expected: tuple[float, list[float]]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=RELATIVE)
    assert found[1] == pytest.approx(expected[1], rel=RELATIVE, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("mace_weighted", "WeightedEnergyForcesLoss"),
        ("mace_huber", "WeightedHuberEnergyForcesStressLoss"),
        ("mace_universal", "UniversalLoss"),
    ],
)
def test_mace(name: str, loss: str, seed: int) -> None:
    theirs = getattr(code("mace.modules.loss"), loss)(energy_weight=1.0, forces_weight=100.0)
    data = sample(seed)
    rng = torch.Generator().manual_seed(seed)
    config, energy_weight, force_weight = (0.5 + torch.rand(5, generator=rng) for _ in range(3))
    if name == "mace_huber":  # reads no weights
        energy_weight = force_weight = config = torch.ones(5)
    sizes = torch.bincount(data.owner)
    zero = torch.zeros(5, 3, 3)
    reference = code("mace.tools.torch_geometric").Data(
        energy=data.target_energy,
        forces=data.target_forces,
        stress=zero,
        weight=config,
        energy_weight=energy_weight,
        forces_weight=force_weight,
        stress_weight=torch.ones(5),
        ptr=torch.cat([torch.zeros(1).long(), sizes.cumsum(0)]),
    )
    leaves = (data.energy.clone().requires_grad_(), data.forces.clone().requires_grad_())
    value = theirs(reference, {"energy": leaves[0], "forces": leaves[1], "stress": zero})
    if name == "mace_weighted":  # the others leave the configuration's weight unused
        energy_weight, force_weight = config * energy_weight, config * force_weight
    found = ours(name, data, energy_weight, force_weight)
    agree(found, (float(value.detach()), gradients(value, leaves)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["graph_pes", "graph_pes_realistic"])
def test_graph_pes(name: str, seed: int) -> None:
    module, graphs = code("graph_pes.training.loss"), code("graph_pes.atomic_graph")
    data = sample(seed)
    if name == "graph_pes":
        parts = [module.PerAtomEnergyLoss(), module.PropertyLoss("forces")]
    else:
        huber = module.Huber(delta=0.01)
        parts = [module.PerAtomEnergyLoss(huber, weight=10.0), module.PropertyLoss("forces", huber)]
    batch = graphs.to_batch(
        [
            graphs.AtomicGraph.create_with_defaults(
                Z=data.numbers[data.owner == k],
                R=torch.zeros(int((data.owner == k).sum()), 3),
                properties={
                    "energy": data.target_energy[k],
                    "forces": data.target_forces[data.owner == k],
                },
            )
            for k in range(5)
        ]
    )
    leaves = (data.energy.clone().requires_grad_(), data.forces.clone().requires_grad_())
    predictions = {"energy": leaves[0], "forces": leaves[1]}
    value = module.TotalLoss(parts)(None, batch, predictions).loss_value
    agree(ours(name, data), (float(value.detach()), gradients(value, leaves)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "forces"), [("nequip", "MSELoss"), ("nequip_per_species", "PerSpeciesMSELoss")]
)
def test_nequip(name: str, forces: str, seed: int) -> None:
    coefficients = {"total_energy": (1.0, "PerAtomMSELoss"), "forces": (1.0, forces)}
    theirs = code("nequip.train.loss").Loss(coefficients)
    data = sample(seed)
    leaves = (data.energy.clone().requires_grad_(), data.forces.clone().requires_grad_())
    same = {"batch": data.owner, "atom_types": data.numbers[:, None]}
    predicted = {"total_energy": leaves[0][:, None], "forces": leaves[1], **same}
    reference = {"total_energy": data.target_energy[:, None], "forces": data.target_forces, **same}
    value = theirs(predicted, reference)[0]
    agree(ours(name, data), (float(value.detach()), gradients(value, leaves)))


def tensor_map(energy: torch.Tensor, forces: torch.Tensor, owner: torch.Tensor) -> Any:
    """Energies with their gradient by positions, as metatrain holds them."""
    metatensor = code("metatensor.torch")
    labels = metatensor.Labels
    structures = torch.arange(len(energy), dtype=torch.int32)
    block = metatensor.TensorBlock(
        values=energy[:, None],
        samples=labels(["system"], structures[:, None]),
        components=[],
        properties=labels(["energy"], torch.zeros(1, 1, dtype=torch.int32)),
    )
    atoms = torch.arange(len(owner), dtype=torch.int32)
    samples = torch.stack([owner.int(), owner.int(), atoms], dim=1)
    block.add_gradient(
        "positions",
        metatensor.TensorBlock(
            values=-forces[:, :, None],
            samples=labels(["sample", "system", "atom"], samples),
            components=[labels(["xyz"], torch.arange(3, dtype=torch.int32)[:, None])],
            properties=block.properties,
        ),
    )
    keys = labels(["_"], torch.zeros(1, 1, dtype=torch.int32))
    return metatensor.TensorMap(keys, [block])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [("metatrain", "mse", {}), ("metatrain_huber", "huber", {"delta": 1.0})],
)
def test_metatrain(name: str, kind: str, options: dict[str, float], seed: int) -> None:
    module, per_atom = code("metatrain.utils.loss"), code("metatrain.utils.per_atom")
    system = code("metatomic.torch").System
    data = sample(seed)
    systems = [
        system(
            types=data.numbers[data.owner == k].int(),
            positions=torch.zeros(int((data.owner == k).sum()), 3),
            cell=torch.zeros(3, 3),
            pbc=torch.zeros(3, dtype=torch.bool),
        )
        for k in range(5)
    ]
    leaves = (data.energy.clone().requires_grad_(), data.forces.clone().requires_grad_())
    predicted, reference = (
        per_atom.average_by_num_atoms({"energy": tensor_map(e, f, data.owner)}, systems, [])
        for e, f in (leaves, (data.target_energy, data.target_forces))
    )
    value = sum(
        module.create_loss(
            kind, name="energy", gradient=gradient, weight=1.0, reduction="mean", **options
        )(predicted, reference)
        for gradient in (None, "positions")
    )
    assert isinstance(value, torch.Tensor)
    agree(ours(name, data), (float(value.detach()), gradients(value, leaves)))


@pytest.mark.parametrize("seed", SEEDS)
def test_schnetpack(seed: int) -> None:
    task = import_schnetpack().task
    outputs = [
        task.ModelOutput("energy", torch.nn.MSELoss(), 0.01, metrics={}),
        task.ModelOutput("forces", torch.nn.MSELoss(), 0.99, metrics={}),
    ]
    data = sample(seed)
    leaves = (data.energy.clone().requires_grad_(), data.forces.clone().requires_grad_())
    predicted = {"energy": leaves[0], "forces": leaves[1]}
    target = {"energy": data.target_energy, "forces": data.target_forces}
    value = sum(output.calculate_loss(predicted, target) for output in outputs)
    agree(ours("schnetpack", data), (float(value.detach()), gradients(value, leaves)))


def torchani_example(data: Sample) -> torch.Tensor:
    """Energies and forces of TorchANI's example, in Hartree, structure by structure."""
    from ase.units import Hartree

    total = torch.zeros(())
    for k in range(5):
        mine = data.owner == k
        n = int(mine.sum())
        energy = ((data.energy[k] - data.target_energy[k]) / Hartree) ** 2 / n**0.5
        forces = ((data.forces - data.target_forces)[mine] / Hartree).square().sum() / n
        total = total + (energy + 0.1 * forces) / 5
    return total


def gap_objective(data: Sample) -> torch.Tensor:
    """Sum of squares over noise variances; σ_E grows as √N."""
    total = torch.zeros(())
    for k in range(5):
        mine = data.owner == k
        total = total + (data.energy[k] - data.target_energy[k]) ** 2 / (0.002**2 * mine.sum())
        total = total + ((data.forces - data.target_forces)[mine] / 0.2).square().sum()
    return total


def deepmd_frames(data: Sample, exponent: int) -> torch.Tensor:
    """Frames one by one, as DeePMD-kit batches systems of one size."""
    total = torch.zeros(())
    for k in range(5):
        mine = data.owner == k
        n = int(mine.sum())
        total = total + 0.02 * (1 / n) ** exponent * (data.energy[k] - data.target_energy[k]) ** 2
        total = total + 1000 * (data.forces - data.target_forces)[mine].square().mean()
    return total / 5


def fairchem_terms(data: Sample) -> torch.Tensor:
    sizes = torch.bincount(data.owner)
    energy = (data.energy / sizes - data.target_energy / sizes).abs().mean()
    forces: torch.Tensor = torch.linalg.vector_norm(data.forces - data.target_forces, dim=-1)
    return 20 * energy + 2 * forces.mean()


def aimnet2_terms(data: Sample) -> torch.Tensor:
    sizes = torch.bincount(data.owner)
    energy = ((data.energy - data.target_energy).pow(2) / sizes**0.5).mean()
    forces = torch.nn.functional.mse_loss(data.forces, data.target_forces)
    return (energy + 0.2 * forces) / 1.2


def per_atom_mse(data: Sample, force_weight: float) -> torch.Tensor:
    sizes, mse = torch.bincount(data.owner), torch.nn.functional.mse_loss
    forces = mse(data.forces, data.target_forces)
    return mse(data.energy / sizes, data.target_energy / sizes) + force_weight * forces


WRITTEN_OUT: dict[str, Callable[[Sample], torch.Tensor]] = {
    "torchani": torchani_example,
    "gap": gap_objective,
    "deepmd": lambda data: deepmd_frames(data, 1),
    "deepmd_intensive": lambda data: deepmd_frames(data, 2),
    "fairchem": fairchem_terms,
    "aimnet2": aimnet2_terms,
    "sevennet": lambda data: per_atom_mse(data, 0.1),
    "chgnet": lambda data: per_atom_mse(data, 1.0),
    "matgl": lambda data: per_atom_mse(data, 1.0),
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_codes_that_are_not_installed_are_written_out(name: str) -> None:
    """Formulas of the survey, in loops of their own."""
    for seed in SEEDS:
        data = sample(seed)
        leaves = (data.energy.clone().requires_grad_(), data.forces.clone().requires_grad_())
        value = WRITTEN_OUT[name](data._replace(energy=leaves[0], forces=leaves[1]))
        agree(ours(name, data), (float(value.detach()), gradients(value, leaves)))


def test_orb_is_maces_conditional_huber_loss_of_standardized_values() -> None:
    from dataclasses import replace

    loss = preset("orb")
    data = sample(3)
    in_units = EnergyForceLoss(replace(loss.energy, unit=0.3), replace(loss.forces, unit=1.7))
    huber = torch.nn.functional.huber_loss
    sizes = torch.bincount(data.owner)
    energy = huber(data.energy / sizes / 0.3, data.target_energy / sizes / 0.3, delta=0.01)
    target, predicted = data.target_forces / 1.7, data.forces / 1.7
    total = torch.zeros(())
    for i in range(len(target)):
        norm = float(torch.linalg.vector_norm(target[i]))
        factor = 1.0 if norm < 100 else 0.7 if norm < 200 else 0.4 if norm < 300 else 0.1
        total = total + huber(predicted[i], target[i], delta=0.01 * factor) / len(target)
    assert float(in_units(*data)) == pytest.approx(float(energy + total), rel=1e-10)


def test_imports_of_other_codes_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os, warnings\nwarnings.warn('old')\nos.environ['PESLOSS_LEFT'] = '1'\nx = 1\n"
    (tmp_path / "loud_code.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert code("loud_code").x == 1  # its warning would be an error here
    assert "PESLOSS_LEFT" not in os.environ
    with pytest.raises(pytest.skip.Exception, match=r"no_code is not installed .*`make codes`"):
        code("no_code.loss")
