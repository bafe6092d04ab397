"""The step in C is torch's, whatever the potential, widths, losses, units, instruction sets."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from conftest import Tiny, failure, in_torch
from torch import Tensor

from pesloss.data.graphs import build_graphs
from pesloss.model import compiled
from pesloss.spec.run import Run
from pesloss.spec.settings import TrainingSpec
from pesloss.training import compiled_step, learners
from pesloss.training.compiled_step import Stack
from pesloss.training.job import alike, prepare
from pesloss.training.learners import InC, InTorch, Learners, Shared
from pesloss.training.loop import Training, deterministic, learning_rate, train_together

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")

HERE = [name for name in compiled.VECTORS if name in ("plain", compiled.instruction_set())]
HERE += ["AVX2"] * (compiled.instruction_set() == "AVX512")
LOSSES = [
    Run("tiny", "schnet", "standardized", "standardized", "mse", 3.0),
    Run("tiny", "schnet", "sqrt_n", "raw", "huber", 30.0),
    Run("tiny", "schnet", "raw", "standardized", "mae", 0.3),
    Run("tiny", "schnet", "calibrated", "raw", "mse", 300.0),
    Run("tiny", "schnet", "per_atom", "raw", "huber", 1.0),
]
WIDTHS = {
    "as large as here": {"n_features": 32, "n_interactions": 2, "n_radial": 16},
    "odd": {"n_features": 7, "n_interactions": 3, "n_radial": 5},
    "one block": {"n_features": 24, "n_interactions": 1, "n_radial": 20},
    "wide": {"n_features": 80, "n_interactions": 2, "n_radial": 33},
    "narrowest": {"n_features": 1, "n_interactions": 1, "n_radial": 2},
}


@pytest.fixture(params=["schnet", "painn"])
def potential(request: pytest.FixtureRequest) -> str:
    """The kinds that are trained in C."""
    return str(request.param)


def trainings_of(
    tiny: Tiny,
    runs: list[Run] = LOSSES,
    dtype: torch.dtype = torch.float64,
    potential: str = "schnet",
    model: dict[str, int] | None = None,
    **settings: Any,
) -> list[Training]:
    """Trainings of all structures, with weights that are not those of a start, biases zero."""
    every = np.arange(len(tiny.structures))
    split = {"train": every, "validation": every[:9]}
    spec = TrainingSpec.model_validate({**tiny.spec.model_dump(), **settings})
    shape = tiny.model.model_copy(update={"representation": potential, **(model or {})})
    first = prepare(runs[0], tiny.graphs, split, tiny.statistics, shape, spec, dtype)
    found = [alike(first, run, tiny.statistics) for run in runs]
    for k, training in enumerate(found):
        rng = torch.Generator().manual_seed(k)
        for weight in training.model.parameters():
            noise = torch.randn(weight.shape, generator=rng, dtype=torch.float64)
            weight.data += 0.1 * noise.to(dtype)
    return found


def stack_of(trainings: list[Training], instructions: str | None = None) -> Stack:
    models, objectives = [t.model for t in trainings], [t.objective for t in trainings]
    first = trainings[0]
    return Stack(
        models, objectives, first.graphs, first.batcher, first.spec.batch_size, instructions
    )


def distance(one: Tensor, other: Tensor, whole: float = 0.0) -> float:
    return float((one - other).norm() / max(float(other.norm()), whole, 1e-300))


def gradients_in_torch(training: Training, index: np.ndarray[Any, Any]) -> dict[str, Tensor]:
    """By two passes of SchNetPack's own model backwards."""
    batch, objective = training.batcher(index), training.objective
    prediction = training.model.reference(batch)
    energy = objective.energy_terms(batch, prediction).mean()
    loss = energy + objective.force_weight * objective.force_terms(batch, prediction).mean()
    training.model.zero_grad()
    loss.backward()
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in training.model.named_parameters()
    }


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("instructions", HERE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_predictions_and_gradients_are_those_of_schnetpacks_own_pass(
    tiny: Tiny, dtype: torch.dtype, instructions: str, potential: str, widths: str
) -> None:
    precision, of_gradient = (1e-12, 3e-12) if dtype == torch.float64 else (3e-5, 3e-4)
    trainings = trainings_of(tiny, LOSSES, dtype, potential, WIDTHS[widths])
    stack, members = stack_of(trainings, instructions), range(len(trainings))
    index = np.array([4, 9, 3, 0, 31, 14])  # crystals with images of their own atoms, clusters
    terms = stack.gradients(members, index[:4])
    local, forces = stack.predict(members, index)
    for k, training in enumerate(trainings):
        expected = training.model.reference(training.batcher(index))
        assert distance(local[k], expected.local_energy.detach()) < precision
        assert distance(forces[k], expected.forces.detach()) < precision
        named, gradients = stack.named(k, stack.gradient), gradients_in_torch(training, index[:4])
        whole = max(float(g.norm()) for g in gradients.values())
        whole *= 1e-3 if dtype == torch.float64 else 1  # a bias may be a sum that cancels
        for name, gradient in gradients.items():
            assert distance(named[name], gradient, whole) < of_gradient, name
        batch = training.batcher(index[:4])
        prediction = training.model(batch)
        energy = training.objective.energy_terms(batch, prediction).detach()
        force = training.objective.force_terms(batch, prediction).detach().sum(dim=1)
        assert distance(torch.tensor(terms[k, 0]).to(dtype), energy) < 10 * precision
        assert distance(torch.tensor(terms[k, 1]).to(dtype), training.model.total(batch, force)) < (
            10 * precision
        )


def test_the_gradient_is_the_slope_of_the_loss(tiny: Tiny, potential: str) -> None:
    index = np.array([4, 7, 9])
    (training,) = trainings_of(tiny, LOSSES[:1], potential=potential)
    stack = stack_of([training])

    def loss() -> float:
        energy, force = stack.gradients([0], index)[0]
        atoms = tiny.graphs.n_atoms[index].sum()
        return float(energy.mean() + training.objective.force_weight * force.sum() / (3 * atoms))

    loss()
    gradient = stack.gradient.clone()
    rng = np.random.default_rng(0)
    for slot in stack.layout:
        if "bias" in slot.part.name:
            continue
        of_weight = slot.of(stack.weights)[0]
        embedding = "embedding" in slot.part.name
        rows = [13, 29] if embedding else [int(rng.integers(len(of_weight)))]
        for row in rows:
            values, column = of_weight[row], int(rng.integers(of_weight.shape[1]))
            ends, before = [], float(values[column])
            for sign in (1, -1):
                values[column] = before + sign * 1e-5
                ends.append(loss())
            values[column] = before
            expected = float(slot.of(gradient)[0, row, column])
            assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("settings", [{}, {"standardized_outputs": False}, {"units_per_ev": 23.06}])
def test_a_whole_training_is_that_of_torch(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, potential: str, settings: dict[str, Any]
) -> None:
    """Weights, curves, signals and what a calibrated loss learns, over fifty steps."""

    def trained() -> tuple[list[Training], list[Any]]:
        trainings = trainings_of(
            tiny, potential=potential, n_steps=50, learning_rate=0.01, **settings
        )
        named = {str(k): training for k, training in enumerate(trainings)}
        return trainings, list(train_together(named).values())

    in_c, found = trained()
    in_torch(monkeypatch)
    others, expected = trained()
    assert [type(f.learners) for f in (found[0], expected[0])] == [InC, InTorch]
    for k, (one, other) in enumerate(zip(found, expected, strict=True)):
        weights = ([p.detach() for p in t[k].model.parameters()] for t in (in_c, others))
        assert max(distance(*pair) for pair in zip(*weights, strict=True)) < 1e-6
        for point, same in zip(one.progress.history, other.progress.history, strict=True):
            assert point == pytest.approx(same, rel=1e-6, nan_ok=True)
        for name in ("gradient_signal", "loss_signal"):
            tables = zip(getattr(one.progress, name), getattr(other.progress, name), strict=True)
            for table, as_in_torch in tables:
                a, b = (t.drop(columns="structure").to_numpy() for t in (table, as_in_torch))
                assert np.allclose(a, b, rtol=1e-6)
        assert bool(one.progress.energy_loss) == (LOSSES[k].energy_loss == "calibrated")


def test_curves_are_those_of_schnetpacks_pass_and_torchs_adam(tiny: Tiny, potential: str) -> None:
    def training() -> Training:
        settings: dict[str, Any] = {"potential": potential, "n_steps": 30, "n_validations": 6}
        return trainings_of(tiny, LOSSES[:1], **settings)[0]

    one, found = training(), training()
    history = found.run().history
    optimizer = torch.optim.Adam(one.model.parameters(), lr=0.0)
    losses: list[float] = []
    for step, index in enumerate(one.order()):
        batch = one.batcher(index)
        prediction = one.model.reference(batch)
        terms = one.objective.energy_terms(batch, prediction).mean()
        losses.append(terms.item())
        loss = terms + 3.0 * one.objective.force_terms(batch, prediction).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = learning_rate(step, one.spec)
        optimizer.step()
    for point in history[1:]:
        expected = np.mean(losses[int(point["step"]) - 5 : int(point["step"])])
        assert point["energy_loss"] == pytest.approx(expected, rel=1e-9)
    pairs = zip(one.model.parameters(), found.model.parameters(), strict=True)
    assert max(distance(b.detach(), a.detach()) for a, b in pairs) < 1e-9


# Bits


def stepped(stack: Stack, members: list[int], training: Training, steps: range) -> None:
    for step in steps:
        stack.step(members, training.order()[step], 1e-2)


@pytest.mark.parametrize("instructions", HERE)
def test_neither_the_number_of_members_nor_their_order_changes_a_bit(
    tiny: Tiny, instructions: str, potential: str
) -> None:
    runs = [replace(run, force_weight=w) for w in (0.3, 1.0, 100.0) for run in LOSSES][:14]

    def stack(chosen: list[int]) -> Stack:
        of_all = trainings_of(tiny, runs, torch.float32, potential)
        return stack_of([of_all[k] for k in chosen], instructions)

    def state(found: Stack, k: int) -> Tensor:
        return torch.stack([found.weights[k], found.mean[k], found.square[k]])

    training = trainings_of(tiny, runs[:1], torch.float32, potential)[0]
    whole, steps = stack(list(range(14))), range(12)
    stepped(whole, list(range(14)), training, steps)
    repeated = stack(list(range(14)))
    stepped(repeated, list(reversed(range(14))), training, steps)
    assert torch.equal(whole.weights, repeated.weights)
    five = [0, 3, 13, 5, 8]
    part = stack(five)
    stepped(part, list(range(5)), training, steps)
    index = np.arange(40)
    of_all = whole.predict(range(14), index), whole.signals(range(14), index[:6])
    for place, k in enumerate(five):
        alone = stack([k])
        stepped(alone, [0], training, steps)
        assert torch.equal(state(part, place), state(whole, k))
        assert torch.equal(state(alone, 0), state(whole, k))
        assert np.array_equal(alone.total[0], whole.total[k])
        for one, other in zip(alone.predict([0], index), of_all[0], strict=True):
            assert torch.equal(one[0], other[k])
        assert np.array_equal(alone.signals([0], index[:6])[0], of_all[1][k])


def test_predictions_do_not_depend_on_the_batch(tiny: Tiny, potential: str) -> None:
    stack = stack_of(trainings_of(tiny, LOSSES[:1], torch.float32, potential))
    chosen = np.array([7, 3, 39, 4, 5, 0, 12, 4, 31])
    together = stack.predict([0], chosen)
    parts = [stack.predict([0], chosen[k : k + 1]) for k in range(len(chosen))]
    for one, alone in zip(together, zip(*parts, strict=True), strict=True):
        assert torch.equal(one, torch.cat(alone, dim=1))


@pytest.mark.parametrize("widths", ["odd", "narrowest", "one block"])
def test_padding_stays_zero(tiny: Tiny, potential: str, widths: str) -> None:
    trainings = trainings_of(tiny, LOSSES, torch.float32, potential, WIDTHS[widths])
    stack = stack_of(trainings)
    stepped(stack, list(range(5)), trainings[0], range(12))
    inside = torch.zeros_like(stack.weights)
    for slot in stack.layout:
        slot.of(inside)[:] = 1
    assert bool((inside == 0).any())
    for values in (stack.weights, stack.mean, stack.square):
        assert bool((values[inside == 0] == 0).all())
    moved = sum(p.numel() for p in trainings[0].model.parameters())
    assert int(inside[0].sum()) == moved


# What is left out or goes wrong


def test_a_member_whose_loss_is_not_finite_stays_where_it_was(tiny: Tiny, potential: str) -> None:
    trainings = trainings_of(tiny, LOSSES[:3], torch.float32, potential)
    stack, index = stack_of(trainings), trainings[0].order()[0]
    stack.weights[1] = 1e30
    before, total = stack.weights.clone(), stack.total.copy()
    found, _ = stack.step([0, 1, 2], index, 1e-3)
    assert list(np.isfinite(found[:, 2])) == [True, False, True]
    assert torch.equal(stack.weights[1], before[1])
    assert np.array_equal(stack.total[1], total[1])
    for k in (0, 2):
        assert not torch.equal(stack.weights[k], before[k])
        assert bool(stack.weights[k].isfinite().all())
        assert (stack.total[k, index, 0] == 1).all()


def test_atoms_without_neighbours_and_large_structures_are_predicted(
    tiny: Tiny, potential: str
) -> None:
    far = Atoms("CuAl", positions=[[0, 0, 0], [50, 0, 0]])
    large = tiny.structures[4].repeat((4, 4, 4))  # many times what is computed at once
    structures = [*tiny.structures[:3], Atoms("Cu"), far, large]
    for k, atoms in enumerate(structures):
        atoms = structures[k] = atoms.copy()
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
        atoms.info = {"structure": str(k)}
    data = replace(tiny, structures=structures, graphs=build_graphs(structures, 4.0))
    (training,) = trainings_of(data, LOSSES[:1], potential=potential, batch_size=2)
    stack, chosen = stack_of([training]), np.array([3, 5, 0, 4])
    local, forces = stack.predict([0], chosen)
    expected = training.model.reference(training.batcher(chosen))
    assert distance(local[0], expected.local_energy.detach()) < 1e-12
    assert distance(forces[0], expected.forces.detach()) < 1e-12
    assert float(forces[0, 0].norm()) == 0
    once = training.model(training.batcher(np.array([5]))).local_energy[:4]
    assert np.allclose(local[0, 1:5], once.detach(), rtol=1e-12)


@pytest.mark.parametrize("end", ["centre", "neighbour"])
def test_a_pair_of_an_atom_that_is_not_there_is_refused(tiny: Tiny, end: str) -> None:
    (training,) = trainings_of(tiny, LOSSES[:1])
    for wrong in (tiny.graphs.n_atoms[11], -1):
        ends = getattr(training.batcher, "first" if end == "centre" else "second")
        place = training.batcher.first_pair[11] + 1
        before, ends[place] = int(ends[place]), int(wrong)
        line = failure(lambda: stack_of([training]))
        assert line == "graphs: structure s11 has a neighbour pair of an atom it lacks"
        ends[place] = before
    assert stack_of([training])


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_training_is_in_torch_and_says_so(
    tiny: Tiny, run_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    compiler: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("PESLOSS_CACHE", str(tmp_path / "cache"))
    compiled_step.library.cache_clear()
    said: list[str] = []
    try:
        (training,) = trainings_of(tiny, LOSSES[:1], torch.float32)
        shared = Shared(training.graphs, training.batcher, 4)
        found: Learners = learners.learners([training.model], [training.objective], shared)
        assert isinstance(found, InTorch)
        record = run_tiny("one", say=said.append).record.read_text()
    finally:
        compiled_step.library.cache_clear()
    (line,) = said
    reason = {"false": "the C compiler ends with status 1"}.get(compiler, f"'{compiler}'")
    assert "; step: torch, sums over pairs in " in line
    assert f"(no compiled step: {'no C compiler ' * (compiler != 'false')}{reason})" in line
    assert "(no compiled step: " in record


def test_a_record_says_that_its_steps_were_in_c(run_tiny: Callable[..., Any]) -> None:
    deterministic()
    said: list[str] = []
    record = run_tiny("one", say=said.append).record.read_text()
    assert f'"step": "compiled C, {compiled.instruction_set()}"' in record
    assert f"; step: compiled C, {compiled.instruction_set()};" in said[0]
