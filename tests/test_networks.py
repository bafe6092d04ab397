"""SchNet and PaiNN on each pair once are SchNetPack's, and so are the derivatives."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Tiny, failure
from torch import Tensor

from pesloss.job.code_digest import PACKAGE
from pesloss.model import pair_kernels
from pesloss.model.batches import Batch, Batcher
from pesloss.model.messages import Pairs, messages, vector_messages
from pesloss.model.potential import Potential, Prediction, build_model
from pesloss.model.schnetpack_import import import_schnetpack
from pesloss.spec.settings import ModelSpec

KINDS = ("schnet", "painn")
EPSILON = {torch.float32: 1e-5, torch.float64: 1e-10}
PAIRS = Pairs(torch.tensor([0, 0, 1, 2, 2, 0]), torch.tensor([1, 2, 2, 2, 3, 0]))


@pytest.fixture(params=["compiled", "torch"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Sums over pairs by compiled loops, and as where there is no compiler."""
    pair_kernels.load.cache_clear()
    if request.param == "torch":
        monkeypatch.setenv("CC", "no-such-compiler")
    elif not pair_kernels.load(torch.float64):
        pytest.skip("no C compiler here")
    yield request.param
    pair_kernels.load.cache_clear()


def model_of(kind: str, tiny: Tiny, dtype: torch.dtype) -> Potential:
    numbers = {"n_features": 8, "n_interactions": 3, "n_radial": 6, "cutoff": tiny.model.cutoff}
    spec = ModelSpec.model_validate({"representation": kind, **numbers})
    return build_model(spec, tiny.statistics, seed=3).to(dtype)


def batch_of(tiny: Tiny, structures: str, dtype: torch.dtype) -> Batch:
    chosen = [k for k, a in enumerate(tiny.structures) if a.pbc.any() == (structures == "crystals")]
    batch = Batcher(tiny.graphs, dtype)(np.array(chosen[:5]))
    own_images = (batch.pairs.first == batch.pairs.second).any()
    assert bool(own_images) == (structures == "crystals")
    return batch


def loss_of(prediction: Prediction) -> Tensor:
    """Any loss of energies and forces whose slopes are not all the same."""
    return (prediction.deviation - 0.3).square().mean() + (prediction.forces - 0.1).square().mean()


def gradients(model: Potential, loss: Tensor) -> list[Tensor]:
    weights = list(model.parameters())
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().norm() / other.detach().norm().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("structures", ["clusters", "crystals"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_schnetpacks_own_pass(
    kind: str, structures: str, dtype: torch.dtype, tiny: Tiny, loops: str
) -> None:
    model, batch = model_of(kind, tiny, dtype), batch_of(tiny, structures, dtype)
    found, expected = model(batch), model.reference(batch)
    for one, other in zip(found, expected, strict=True):
        assert distance(one, other) < EPSILON[dtype]
    losses = loss_of(found), loss_of(expected)
    assert float(losses[0].detach()) == pytest.approx(float(losses[1].detach()), rel=EPSILON[dtype])
    pairs = list(zip(*(gradients(model, loss) for loss in losses), strict=True))
    whole = torch.cat([other.flatten() for _, other in pairs]).norm()
    for one, other in pairs:
        assert float((one - other).norm() / whole) < EPSILON[dtype]
        assert float((one - other).norm() / other.norm().clamp_min(1e-3 * whole)) < EPSILON[dtype]


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_alone_are_those_of_a_training_step(kind: str, tiny: Tiny) -> None:
    model, batch = model_of(kind, tiny, torch.float32), batch_of(tiny, "crystals", torch.float32)
    for one, other in zip(model(batch, differentiable=False), model(batch), strict=True):
        assert distance(one, other) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_repeats_bit_for_bit(kind: str, tiny: Tiny) -> None:
    model, batch = model_of(kind, tiny, torch.float32), batch_of(tiny, "clusters", torch.float32)
    once, twice = (gradients(model, loss_of(model(batch))) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(once, twice, strict=True))


def random(*shape: int) -> Tensor:
    values = np.random.default_rng(sum(shape)).normal(size=shape)
    return torch.tensor(values, requires_grad=True)


def scalar(x: Tensor, filters: Tensor) -> Tensor:
    return messages(x, filters, PAIRS)


def vector(x: Tensor, filters: Tensor, direction: Tensor) -> Tensor:
    return vector_messages(x, filters, direction, PAIRS)


FORMS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "scalar": (scalar, (random(4, 1, 5), random(6, 5))),
    "three channels": (scalar, (random(4, 3, 5), random(6, 5))),
    "vector": (vector, (random(4, 1, 5), random(6, 5), random(6, 3))),
}


@pytest.mark.parametrize("form", FORMS)
def test_messages_have_the_derivatives_they_say(form: str, loops: str) -> None:
    function, arguments = FORMS[form]
    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


@pytest.mark.parametrize("form", FORMS)
def test_messages_are_sums_over_both_directions(form: str, loops: str) -> None:
    function, (x, filters, *rest) = FORMS[form]
    expected = torch.zeros(4, 1 if form == "scalar" else 3, 5, dtype=x.dtype)
    for p, (i, j) in enumerate(zip(*PAIRS, strict=True)):
        turn = rest[0][p, :, None] if rest else 1.0
        expected[i] += turn * filters[p] * x[j]
        expected[j] += (-1 if rest else 1) * turn * filters[p] * x[i]
    assert torch.allclose(function(x, filters, *rest), expected, atol=1e-14)


def test_features_may_be_part_of_a_wider_table(loops: str) -> None:
    x, filters = random(4, 1, 15), random(6, 15)
    parts = [scalar(x[..., k : k + 5], filters[:, k : k + 5]) for k in (0, 5, 10)]
    assert torch.allclose(torch.cat(parts, dim=2), scalar(x, filters), atol=1e-14)


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", "true"])
def test_without_a_working_compiler_torch_does_it(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("PESLOSS_CACHE", str(tmp_path_factory.mktemp("cache")))
    pair_kernels.load.cache_clear()
    try:
        assert pair_kernels.load(torch.float32) is None
        assert "torch" in pair_kernels.described()
    finally:
        pair_kernels.load.cache_clear()


def test_a_pair_in_one_direction_only_is_refused(tiny: Tiny) -> None:
    graphs = tiny.graphs
    second = graphs.n_pairs.copy()
    second[0] -= 1
    cut = {name: getattr(graphs, name)[1:] for name in ("centre", "neighbour", "offset")}
    name = graphs.structure[0]
    text = failure(lambda: Batcher(replace(graphs, n_pairs=second, **cut)))
    assert text == f"graphs: structure {name} has neighbour pairs in one direction only"


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_named_and_drawn_as_schnetpack_does(kind: str, tiny: Tiny) -> None:
    schnetpack = import_schnetpack()
    whole = getattr(schnetpack.representation, {"schnet": "SchNet", "painn": "PaiNN"}[kind])
    own = model_of(kind, tiny, torch.float32).representation
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = whole(
            n_atom_basis=8,
            n_interactions=3,
            radial_basis=schnetpack.nn.GaussianRBF(n_rbf=6, cutoff=4.0),
            cutoff_fn=schnetpack.nn.CosineCutoff(4.0),
        )
    states = own.state_dict(), theirs.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


LIGHT = """
import sys
import pesloss.model.potential
assert not {"sympy", "pytorch_lightning", "hydra", "schnetpack"} & set(sys.modules)
from pesloss.model.schnetpack_import import import_schnetpack
assert import_schnetpack().__version__ == "2.1.1"
"""


def test_the_networks_come_without_the_rest_of_schnetpack_and_leave_nothing_half_made() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT],
        env={"PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
