"""Losses against loops, and the laws that tell them apart."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Tiny

from pesloss import losses
from pesloss.job.errors import PeslossError
from pesloss.losses.metrics import huber, mae, mse
from pesloss.model.batches import Batch, Batcher
from pesloss.model.potential import Prediction
from pesloss.scales.scales import Scales
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.training.objective import Objective, scales_of, targets

COUNTS = torch.tensor([[1.0, 0], [2, 3], [0, 7], [40, 60]], dtype=torch.float64)
TERMS = [(e, f) for e in losses.names("energy") for f in losses.names("forces")]


POWERS = {"raw": 0.0, "sqrt_root": 0.25, "sqrt_n": 0.5, "per_atom": 1.0, "standardized": 0.5}


def slow_energy_scale(name: str, counts: list[float], scales: Scales) -> float:
    n = sum(counts)
    if name == "standardized":
        sigma = scales.local_energy_scale
        return float(sum(c * s**2 for c, s in zip(counts, sigma, strict=True)) ** 0.5)
    if name in ("correlated", "calibrated"):
        variance = scales.structure_scale**2
        common = 0.0
        for c, s, t in zip(counts, scales.correlated_scale, scales.shared_scale, strict=True):
            variance += c * s**2
            common += c * t
        return float((variance + common**2) ** 0.5)
    return float(n ** POWERS[name])


@pytest.mark.parametrize("name", [*POWERS, "correlated", "calibrated"])
def test_energy_scales_are_those_of_a_loop(name: str, tiny: Tiny) -> None:
    scales = scales_of(tiny.statistics)
    found = losses.energy_loss(name)(scales).scale(COUNTS)
    assert found.tolist() == pytest.approx(
        [slow_energy_scale(name, row.tolist(), scales) for row in COUNTS]
    )


@pytest.mark.parametrize("name", ["raw", "standardized"])
def test_force_scales_are_those_of_a_loop(name: str, tiny: Tiny) -> None:
    species = torch.tensor([0, 1, 1, 0])
    eta = tiny.statistics.force_scale if name == "standardized" else (1.0, 1.0)
    found = losses.force_loss(name)(scales_of(tiny.statistics)).scale(species)
    assert found.tolist() == pytest.approx([eta[z] for z in species.tolist()])


@pytest.mark.parametrize(("name", "power"), list(POWERS.items()))
def test_copies_of_a_structure_scale_by_their_power(name: str, power: float, tiny: Tiny) -> None:
    loss = losses.energy_loss(name)(scales_of(tiny.statistics))
    ratio = loss.scale(9 * COUNTS) / loss.scale(COUNTS)
    assert ratio.tolist() == pytest.approx([9**power] * len(COUNTS))


def test_every_loss_file_is_a_loss(tiny: Tiny) -> None:
    for name in losses.names("energy"):
        scale = losses.energy_loss(name)(scales_of(tiny.statistics)).scale(COUNTS)
        assert scale.shape == (len(COUNTS),)
        assert bool((scale > 0).all())
    for name in losses.names("forces"):
        scale = losses.force_loss(name)(scales_of(tiny.statistics)).scale(torch.tensor([0, 1, 1]))
        assert scale.shape == (3,)
        assert bool((scale > 0).all())


def test_an_unknown_loss_is_named_with_those_there_are() -> None:
    with pytest.raises(
        PeslossError, match="loss is 'rwa'; allowed: calibrated, correlated, per_atom, raw, sqrt_n"
    ):
        losses.energy_loss("rwa")
    with pytest.raises(PeslossError, match="losses/forces: loss is 'per_atom'"):
        losses.force_loss("per_atom")


def test_a_file_without_a_loss_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("pesloss.losses.energy.raw.Loss")
    with pytest.raises(PeslossError, match=r"energy/raw\.py: Loss is None; allowed: a class"):
        losses.energy_loss("raw")


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
def test_metrics_are_those_of_a_loop(delta: float) -> None:
    x = torch.linspace(-4, 4, 81, dtype=torch.float64)
    for found, slow in (
        (mse(x, delta), [v * v for v in x.tolist()]),
        (mae(x, delta), [abs(v) for v in x.tolist()]),
        (
            huber(x, delta),
            [v * v / 2 if abs(v) <= delta else delta * (abs(v) - delta / 2) for v in x.tolist()],
        ),
    ):
        assert found.tolist() == pytest.approx(slow)


Make = Callable[..., Objective]


@pytest.fixture
def make(tiny: Tiny) -> Make:
    """An objective of the tiny dataset; every second structure trains."""

    def build(
        energy: str = "standardized",
        forces: str = "standardized",
        data: Tiny = tiny,
        change: Callable[[losses.EnergyLoss], losses.EnergyLoss] = lambda loss: loss,
        **options: object,
    ) -> Objective:
        train = np.arange(0, len(data.graphs.n_atoms), 2)
        return Objective(
            targets(data.graphs, data.statistics),
            change(losses.energy_loss(energy)(scales_of(data.statistics))),
            losses.force_loss(forces)(scales_of(data.statistics)),
            train,
            Batcher(data.graphs)(train).atom,
            **options,  # type: ignore[arg-type]
        )

    return build


def nothing(batch: Batch) -> Prediction:
    """What a model says that knows the mean energies and no forces."""
    zero = torch.zeros(len(batch.n_atoms)), torch.zeros_like(batch.positions)
    return Prediction(*zero, torch.zeros(len(batch.positions)))


def something(batch: Batch, seed: int = 0) -> Prediction:
    noise = torch.Generator().manual_seed(seed)
    shapes = (len(batch.n_atoms),), batch.positions.shape, (len(batch.positions),)
    return Prediction(*(torch.randn(shape, generator=noise) for shape in shapes))


@pytest.mark.parametrize(("energy", "forces"), TERMS)
def test_both_terms_of_the_zero_model_are_one_for_every_loss(
    energy: str, forces: str, make: Make, tiny: Tiny
) -> None:
    objective = make(energy, forces)
    batch = Batcher(tiny.graphs)(np.arange(0, 40, 2))
    assert float(objective.energy_terms(batch, nothing(batch)).mean()) == pytest.approx(1, rel=1e-5)
    assert float(objective.force_terms(batch, nothing(batch)).mean()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("metric", ["mse", "mae", "huber"])
def test_terms_are_those_of_a_loop(metric: str, make: Make, tiny: Tiny) -> None:
    objective = make("standardized", "standardized", metric=metric, delta=0.7)
    labels, statistics = targets(tiny.graphs, tiny.statistics), tiny.statistics
    scales, eta = scales_of(statistics), statistics.force_scale
    owner = np.repeat(np.arange(40), tiny.graphs.n_atoms)
    energy_arguments, force_arguments = np.empty(40), np.empty((len(owner), 3))
    for k in range(40):
        scale = slow_energy_scale("standardized", labels.composition[k].tolist(), scales)
        energy_arguments[k] = float(labels.deviation[k]) / scale
    for i in range(len(owner)):
        force_arguments[i] = labels.forces[i].numpy() / eta[int(labels.species[i])]
    train = np.arange(0, 40, 2)
    root_e = np.sqrt(np.mean(energy_arguments[train] ** 2))
    root_f = np.sqrt(np.mean(force_arguments[np.isin(owner, train)] ** 2))
    chosen = np.array([9, 2, 4])
    batch = Batcher(tiny.graphs)(chosen)
    function = {"mse": mse, "mae": mae, "huber": huber}[metric]
    expected = function(torch.tensor(energy_arguments[chosen] / root_e), 0.7)
    assert np.allclose(objective.energy_terms(batch, nothing(batch)), expected, rtol=1e-4)
    forces = np.concatenate([force_arguments[owner == k] for k in chosen])
    expected = function(torch.tensor(forces / root_f), 0.7)
    assert np.allclose(objective.force_terms(batch, nothing(batch)), expected, rtol=1e-4)


@pytest.mark.parametrize(("energy", "forces"), TERMS)
def test_the_objective_has_no_unit(energy: str, forces: str, make: Make, tiny: Tiny) -> None:
    factor = 23.060548
    batch = Batcher(tiny.graphs)(np.arange(10))
    prediction = something(batch)
    there = Prediction(*(factor * value for value in prediction))
    one, other = make(energy, forces), make(energy, forces, data=tiny.times(factor))
    for name in ("energy_terms", "force_terms"):
        here = getattr(one, name)(batch, prediction)
        assert torch.allclose(here, getattr(other, name)(batch, there), rtol=1e-4, atol=1e-6)


def test_only_standardized_scales_change_with_the_unit(tiny: Tiny) -> None:
    with_unit = ("standardized", "correlated", "calibrated")
    for name in losses.names("energy"):
        expected = 23.06 if name in with_unit else 1.0
        kind = losses.energy_loss(name)
        here, there = (
            kind(scales_of(data.statistics)).scale(COUNTS) for data in (tiny, tiny.times(23.06))
        )
        assert torch.allclose(there / here, torch.full_like(here, expected))


@pytest.mark.parametrize("energy", losses.names("energy"))
def test_a_constant_factor_on_a_scale_changes_nothing(energy: str, make: Make, tiny: Tiny) -> None:
    class Larger(losses.EnergyLoss):
        def __init__(self, inner: losses.EnergyLoss) -> None:
            self.inner = inner

        def scale(self, composition: torch.Tensor) -> torch.Tensor:
            return 17 * self.inner.scale(composition)

    batch = Batcher(tiny.graphs)(np.arange(12))
    one, other = make(energy), make(energy, change=Larger)
    prediction = something(batch)
    for metric in (one, other):
        assert metric.energy_terms(batch, prediction).min() >= 0
    assert torch.allclose(
        one.energy_terms(batch, prediction), other.energy_terms(batch, prediction), rtol=1e-5
    )


def test_the_order_of_structures_does_not_matter(make: Make, tiny: Tiny) -> None:
    batcher, objective = Batcher(tiny.graphs), make()
    here = objective.energy_terms(
        batcher(np.array([3, 8, 1])), nothing(batcher(np.array([3, 8, 1])))
    )
    there = objective.energy_terms(
        batcher(np.array([1, 3, 8])), nothing(batcher(np.array([1, 3, 8])))
    )
    assert torch.equal(here[[2, 0, 1]], there)


def test_a_batch_twice_has_the_same_mean(make: Make, tiny: Tiny) -> None:
    objective, batcher = make(), Batcher(tiny.graphs)
    once, twice = batcher(np.array([3, 8])), batcher(np.array([3, 8, 3, 8]))
    for name in ("energy_terms", "force_terms"):
        means = [getattr(objective, name)(b, nothing(b)).mean() for b in (once, twice)]
        assert float(means[0]) == pytest.approx(float(means[1]), rel=1e-6)


@pytest.mark.parametrize("metric", ["mse", "mae", "huber"])
def test_slopes_of_the_terms_are_finite_differences(metric: str, make: Make, tiny: Tiny) -> None:
    objective = make("sqrt_n", "standardized", metric=metric)
    batch = Batcher(tiny.graphs)(np.arange(5))
    values = something(batch)
    deviation, forces = (v.double().requires_grad_() for v in values[:2])

    def total(deviation: torch.Tensor, forces: torch.Tensor) -> torch.Tensor:
        prediction = Prediction(deviation, forces, values[2])
        force = objective.force_terms(batch, prediction).mean()
        return objective.energy_terms(batch, prediction).mean() + force

    assert torch.autograd.gradcheck(total, (deviation, forces), eps=1e-6, atol=1e-5)


class Wrong(losses.EnergyLoss):
    """A scale of the wrong sign or shape, as a first attempt may have."""

    def __init__(self, statistics: DatasetStatistics | losses.EnergyLoss, column: bool) -> None:
        self.column = column

    def scale(self, composition: torch.Tensor) -> torch.Tensor:
        ones = torch.ones(len(composition))
        return ones[:, None] if self.column else ones - 1


@pytest.mark.parametrize(("column", "message"), [(True, "shape"), (False, "positive")])
def test_a_wrong_scale_is_refused(column: bool, message: str, make: Make) -> None:
    with pytest.raises(PeslossError, match=f"energy loss: scale .*{message}"):
        make(change=lambda loss: Wrong(loss, column))


def test_an_unknown_species_is_named_with_its_structure(tiny: Tiny) -> None:
    numbers = tiny.graphs.numbers.copy()
    numbers[int(tiny.graphs.n_atoms[0])] = 79
    with pytest.raises(PeslossError, match="tiny: structure s01: species is 'Au'; allowed: Al, Cu"):
        targets(replace(tiny.graphs, numbers=numbers), tiny.statistics)


def test_losses_are_the_files_of_their_folders() -> None:
    folder = Path(losses.__file__).parent
    assert set(losses.names("energy")) == {p.stem for p in (folder / "energy").glob("[!_]*.py")}
    assert set(losses.names("forces")) == {p.stem for p in (folder / "forces").glob("[!_]*.py")}


def test_losses_that_are_powers_of_size_say_which() -> None:
    powers = {name: losses.size_exponent(name) for name in ("raw", "sqrt_root", "sqrt_n")}
    assert powers == {"raw": 0.0, "sqrt_root": 0.5, "sqrt_n": 1.0}
    assert losses.size_exponent("standardized") is None
