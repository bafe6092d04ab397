"""Whole losses on batches: a slow twin, and the laws each loss claims."""

import dataclasses
import itertools
import math

import pytest
import torch
from batches import SCALES, Sample, sample, value

from pesloss import losses
from pesloss.job.errors import PeslossError
from pesloss.losses.presets import presets
from pesloss.losses.terms import (
    EnergyForceLoss,
    EnergyTerm,
    ForceTerm,
    energy_force_loss,
    power,
    residuals,
    species_index,
)

ENERGIES = losses.names("energy")
FORCES = losses.names("forces")
SYMBOLS = {1: "H", 6: "C", 8: "O"}


def slow_metric(x: float, metric: str, delta: float) -> float:
    if metric == "mse":
        return x * x
    if metric == "mae":
        return abs(x)
    return x * x / 2 if abs(x) <= delta else delta * (abs(x) - delta / 2)


def slow_scale(name: str, numbers: list[int]) -> float:
    if name == "control_factor":
        return 23.06
    powers = {"raw": 0.0, "control_same": 0.0, "sqrt_root": 0.25, "sqrt_n": 0.5, "per_atom": 1.0}
    if name in powers:
        return float(len(numbers) ** powers[name])
    place = [SCALES.species.index(SYMBOLS[z]) for z in numbers]
    if name == "standardized":
        return math.sqrt(sum(SCALES.local_energy_scale[i] ** 2 for i in place))
    own = sum(SCALES.correlated_scale[i] ** 2 for i in place)
    common = sum(SCALES.shared_scale[i] for i in place)
    return math.sqrt(SCALES.structure_scale**2 + own + common**2)


def slow_loss(data: Sample, energy: str, term: ForceTerm, forces: str, metric: str) -> float:
    """Loops over structures, atoms and components; weight 2 on structure 0, 1 elsewhere."""
    n_structures = len(data.energy)
    weight = [2.0 if k == 0 else 1.0 for k in range(n_structures)]
    atoms = [[i for i, k in enumerate(data.owner.tolist()) if k == j] for j in range(n_structures)]
    total = 0.0
    for k in range(n_structures):
        scale = slow_scale(energy, [int(data.numbers[i]) for i in atoms[k]])
        error = float(data.energy[k] - data.target_energy[k]) / scale
        total += weight[k] * slow_metric(error, metric, 0.03) / n_structures
    rows: list[tuple[int, int, float]] = []
    for i, k in enumerate(data.owner.tolist()):
        z = int(data.numbers[i])
        eta = SCALES.force_scale[SCALES.species.index(SYMBOLS[z])] if forces != "raw" else 1.0
        error_vector = [float(v) / eta for v in data.forces[i] - data.target_forces[i]]
        if term.of == "vectors":
            values = [slow_metric(math.sqrt(sum(v * v for v in error_vector)), metric, 0.03)]
        else:
            values = [slow_metric(v, metric, 0.03) for v in error_vector]
        rows.append((k, z, weight[k] * sum(values) / len(values)))
    groups: dict[int, list[float]] = {}
    for k, z, mean in rows:
        key = {"atoms": 0, "structures": k, "species": z}[term.average]
        groups.setdefault(key, []).append(mean)
    means = [sum(group) / len(group) for group in groups.values()]
    return total + 0.7 * sum(means) / len(means)


@pytest.mark.parametrize("metric", ["mse", "mae", "huber"])
@pytest.mark.parametrize("energy", ENERGIES)
def test_losses_are_those_of_a_loop(energy: str, metric: str) -> None:
    data = sample(1)
    weight = torch.tensor([2.0, 1, 1, 1, 1], dtype=torch.float64)
    for forces, of, average in itertools.product(
        FORCES, ("components", "vectors"), ("atoms", "structures", "species")
    ):
        term = ForceTerm(
            losses.force_loss(forces)(SCALES),
            metric,
            0.03,
            weight=0.7,
            of=of,  # type: ignore[arg-type]
            average=average,  # type: ignore[arg-type]
        )
        loss = EnergyForceLoss(EnergyTerm(losses.energy_loss(energy)(SCALES), metric, 0.03), term)
        found = float(loss(*data, energy_weight=weight, force_weight=weight))
        assert found == pytest.approx(slow_loss(data, energy, term, forces, metric), rel=1e-10)


ALL = {
    **{f"{e}+{f}": energy_force_loss(SCALES, e, f) for e in ENERGIES for f in FORCES},
    **{name: entry.loss for name, entry in presets().items()},
}


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_differences(name: str) -> None:
    data = sample(2)
    energy, forces = data.energy.requires_grad_(), data.forces.requires_grad_()

    def total(energy: torch.Tensor, forces: torch.Tensor) -> torch.Tensor:
        return ALL[name](energy, forces, *data[2:])

    assert torch.autograd.gradcheck(total, (energy, forces), eps=1e-7, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_structures_does_not_matter(name: str) -> None:
    data = sample(3)
    assert value(ALL[name], data.in_order([4, 2, 0, 1, 3])) == pytest.approx(value(ALL[name], data))


@pytest.mark.parametrize("name", ALL)
def test_a_batch_twice_has_the_same_mean_or_twice_the_sum(name: str) -> None:
    data, loss = sample(4), ALL[name]
    factor = 2 if loss.energy.reduction == "sum" else 1
    assert value(loss, data.twice()) == pytest.approx(factor * value(loss, data), rel=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_a_perfect_model_has_no_loss(name: str) -> None:
    data = sample(5)
    perfect = data._replace(energy=data.target_energy, forces=data.target_forces)
    assert value(ALL[name], perfect) == 0


def in_unit(factor: float) -> type[None] | object:
    scaled = {
        name: tuple(factor * v for v in getattr(SCALES, name))
        for name in (
            "mean",
            "local_energy_scale",
            "correlated_scale",
            "shared_scale",
            "force_scale",
        )
    }
    return dataclasses.replace(SCALES, **scaled, structure_scale=factor * SCALES.structure_scale)


@pytest.mark.parametrize("metric", ["mse", "mae", "huber"])
@pytest.mark.parametrize("energy", ENERGIES)
def test_only_standardized_losses_have_no_unit(energy: str, metric: str) -> None:
    factor, data = 23.060547830619026, sample(6)
    here = energy_force_loss(SCALES, energy, "standardized", metric)
    there = energy_force_loss(in_unit(factor), energy, "standardized", metric)  # type: ignore[arg-type]
    terms, other = here.terms(*data), there.terms(*data.times(factor))
    assert float(other.forces) == pytest.approx(float(terms.forces), rel=1e-10)
    if energy in ("standardized", "correlated", "calibrated"):
        assert float(other.energy) == pytest.approx(float(terms.energy), rel=1e-10)
    elif metric != "huber":
        order = {"mse": 2, "mae": 1}[metric]
        assert float(other.energy) == pytest.approx(factor**order * float(terms.energy), rel=1e-10)


@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("copies", [2, 8])
def test_a_supercell_counts_by_the_exponent(exponent: float, copies: int) -> None:
    """Copies of a cell have copies times its error: m² / m^p for squared errors."""
    cell = sample(7, (5,))
    supercell = Sample(
        copies * cell.energy,
        cell.forces.repeat(copies, 1),
        copies * cell.target_energy,
        cell.target_forces.repeat(copies, 1),
        cell.numbers.repeat(copies),
        cell.owner.repeat(copies),
    )
    loss = EnergyForceLoss(power(exponent), ForceTerm())
    here, there = loss.terms(*cell), loss.terms(*supercell)
    assert float(there.energy / here.energy) == pytest.approx(copies ** (2 - exponent), rel=1e-10)
    assert float(there.forces) == pytest.approx(float(here.forces), rel=1e-12)


def test_a_root_mean_square_does_not_add_up_over_batches() -> None:
    data = sample(8)
    root = EnergyForceLoss(power(2, reduction="root_mean"), ForceTerm(reduction="root_mean"))
    square = EnergyForceLoss(power(2), ForceTerm())
    energy, forces = square.terms(*data)[1:]
    assert value(root, data) == pytest.approx(float(energy.sqrt() + forces.sqrt()), rel=1e-12)


def test_float32_agrees_with_float64() -> None:
    for loss in ALL.values():
        fine, coarse = sample(9), sample(9, dtype=torch.float32)
        fine = Sample(*(t.double() if t.is_floating_point() else t for t in coarse))
        assert value(loss, coarse) == pytest.approx(value(loss, fine), rel=2e-5)


def test_conditional_huber_changes_delta_at_its_thresholds() -> None:
    term = ForceTerm(metric="huber", delta=0.01, regimes=True)
    target = torch.tensor(
        [[99.9, 0, 0], [100, 0, 0], [0, 200, 0], [0, 0, 300]], dtype=torch.float64
    )
    data = Sample(
        torch.zeros(4), target + 1, torch.zeros(4), target, torch.ones(4).long(), torch.arange(4)
    )
    loss = EnergyForceLoss(power(0), term)
    for k, factor in enumerate((1.0, 0.7, 0.4, 0.1)):
        one = Sample(*[t[k : k + 1] for t in data])._replace(owner=torch.zeros(1).long())
        delta = 0.01 * factor
        assert value(loss, one) == pytest.approx(delta * (1 - delta / 2), rel=1e-6)


def test_weights_of_terms_are_factors() -> None:
    data, loss = sample(10), energy_force_loss(SCALES)
    plain, other = loss.terms(*data), loss.weighted(energy=3.0, forces=0.25).terms(*data)
    assert float(other.energy) == pytest.approx(3 * float(plain.energy))
    assert float(other.forces) == pytest.approx(float(plain.forces) / 4)


def test_weights_of_structures_select_them() -> None:
    data, loss = sample(11), EnergyForceLoss(power(1), ForceTerm())
    only = torch.zeros(5, dtype=torch.float64)
    only[2] = 1.0
    chosen = [t[2:3] if t.shape[0] == 5 else t[data.owner == 2] for t in data]
    alone = Sample(*chosen)._replace(owner=torch.zeros(7).long())
    found, expected = loss.terms(*data, only, only), loss.terms(*alone)
    assert float(found.energy) == pytest.approx(float(expected.energy) / 5)
    assert float(found.forces) == pytest.approx(float(expected.forces) * 7 / 27)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": torch.zeros(4)}, r"shape of energy is \(4,\); allowed: \(S,\) = \(5,\)"),
        ({"forces": torch.zeros(27)}, r"shape of forces is \(27,\); allowed: \(A, 3\) = \(27, 3\)"),
        ({"owner": torch.zeros(26).long()}, r"shape of owner is \(26,\)"),
        ({"owner": torch.zeros(27).long()}, "a structure of the batch has no atom"),
        ({"numbers": torch.full((27,), 79)}, "species is 'Au'; allowed: H, C, O"),
    ],
)
def test_a_wrong_batch_is_refused_in_one_line(
    change: dict[str, torch.Tensor], message: str
) -> None:
    with pytest.raises(PeslossError, match=message) as caught:
        energy_force_loss(SCALES)(*sample(12)._replace(**change))
    assert "\n" not in str(caught.value)


def test_a_standardized_loss_without_scales_says_so() -> None:
    with pytest.raises(PeslossError, match="loss 'standardized' needs scales"):
        energy_force_loss(None, "standardized", "raw")(*sample(13))
    without = dataclasses.replace(SCALES, force_scale=())
    with pytest.raises(
        PeslossError, match="force loss 'standardized' needs scales with force_scale"
    ):
        energy_force_loss(without)(*sample(13))


def test_a_power_of_n_needs_no_scales() -> None:
    data = sample(14)
    there = value(energy_force_loss(None, "per_atom", "raw"), data)
    assert there == value(energy_force_loss(SCALES, "per_atom", "raw"), data)


def test_averages_other_than_over_atoms_are_means() -> None:
    with pytest.raises(PeslossError, match="reduction is 'sum'; allowed: mean with averages"):
        ForceTerm(average="structures", reduction="sum")


def test_species_follow_the_order_of_the_scales() -> None:
    assert species_index(SCALES, torch.tensor([8, 1, 6, 8])).tolist() == [2, 0, 1, 2]


def test_residuals_are_counted_by_species() -> None:
    data = sample(15)
    counts, error = residuals(SCALES, data.energy - data.target_energy, data.numbers, data.owner)
    assert counts.sum(axis=1).tolist() == [3, 1, 7, 12, 4]
    assert error.tolist() == (data.energy - data.target_energy).tolist()


def test_formulas_say_what_is_computed() -> None:
    shown = {name: loss.formula for name, loss in ALL.items()}
    assert shown["standardized+standardized"] == (
        "mean_k (ΔE / √(Σ n_z σ_z²))² + mean_i,c (ΔF / η_z)²"
    )
    assert shown["mace_weighted"] == "mean_k (ΔE / N)² + 100 mean_i,c ΔF²"
    assert shown["graph_pes"] == "√(mean_k (ΔE / N)²) + √(mean_i,c ΔF²)"
    assert shown["fairchem"] == "20 mean_k |ΔE / N| + 2 mean_i ‖ΔF‖"
    assert shown["gap"] == "Σ_k (ΔE / (0.002 √N))² + Σ_i,c (ΔF / 0.2)²"
    assert shown["deepmd"] == "0.02 mean_k (ΔE / √N)² + 1000 mean_k mean_i,c ΔF²"
    assert shown["aimnet2"] == "0.833333 mean_k (ΔE / N^0.25)² + 0.166667 mean_i,c ΔF²"
