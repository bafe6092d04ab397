"""Trainings in other energy units, without the terms' constants, with outputs in plain units."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.data import atomic_numbers
from conftest import RUN, RunTiny, Tiny
from numpy.typing import NDArray
from pydantic import ValidationError

from pesloss.job.files import read_json, read_table
from pesloss.spec.config import RunGrid
from pesloss.spec.run import Run, settings_of
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.training.job import predictions, prepare
from pesloss.training.loop import Trained, Training, deterministic, train_together
from pesloss.training.objective import scales_of

KCAL, HARTREE = 23.0605, 0.0367493
Array = NDArray[np.float64]


def training_of(tiny: Tiny, loss: str, **changes: object) -> Training:
    """A training in float64, the scale of the outputs included."""
    spec = TrainingSpec.model_validate({**tiny.spec.model_dump(), "n_steps": 30, **changes})
    names = ("train", "validation", "test")
    of = {n: list(tiny.splits.structure[tiny.splits.split == n]) for n in names}
    split = {name: tiny.graphs.select(chosen) for name, chosen in of.items()}
    run = Run("tiny", "schnet", loss, loss if loss == "standardized" else "raw")
    found = prepare(run, tiny.graphs, split, tiny.statistics, tiny.model, spec, torch.float64)
    if spec.standardized_outputs:
        scales = scales_of(tiny.statistics, spec.units_per_ev)
        for symbol, value in zip(scales.species, scales.local_energy_scale, strict=True):
            found.model.local_energy_scale[atomic_numbers[symbol]] = value
    return found


def difference(tiny: Tiny, loss: str, unit: float, **changes: object) -> float:
    """Largest difference of energies (eV) predicted after training in another unit and in eV."""
    deterministic()
    held_out = np.arange(len(tiny.structures))

    def energies(units_per_ev: float) -> Array:
        training = training_of(tiny, loss, units_per_ev=units_per_ev, **changes)
        trained = train_together({"": training})[""]
        assert isinstance(trained, Trained)
        found: Array = predictions(training, trained, held_out, tiny.statistics)["energy"]
        return found

    return float(np.abs(energies(unit) - energies(1.0)).max())


@pytest.mark.parametrize("unit", [KCAL, HARTREE])
def test_the_standardized_loss_does_not_know_the_unit(tiny: Tiny, unit: float) -> None:
    assert difference(tiny, "standardized", unit, term_constants=False) < 1e-8


@pytest.mark.parametrize("unit", [KCAL, HARTREE])
@pytest.mark.parametrize("loss", ["raw", "standardized"])
def test_plain_outputs_know_the_unit_whatever_the_loss(tiny: Tiny, unit: float, loss: str) -> None:
    plain = {"term_constants": False, "standardized_outputs": False}
    assert difference(tiny, loss, unit, **plain) > 1e-2


@pytest.mark.parametrize("unit", [KCAL, HARTREE])
def test_adam_hides_the_unit_of_the_raw_loss_but_for_its_epsilon(tiny: Tiny, unit: float) -> None:
    """A factor of the whole loss cancels in Adam's steps, down to the ε in the denominator."""
    found = difference(tiny, "raw", unit, term_constants=False)
    assert 1e-9 < found < 1e-3
    assert found > 10 * difference(tiny, "standardized", unit, term_constants=False)


@pytest.mark.parametrize(("loss", "power"), [("raw", 2), ("standardized", 0)])
def test_plain_gradient_descent_would_see_the_unit_of_the_raw_loss(
    tiny: Tiny, loss: str, power: int
) -> None:
    """Gradients grow as the square of the unit, which only an invariant optimiser undoes."""

    def gradient(unit: float) -> torch.Tensor:
        training = training_of(tiny, loss, units_per_ev=unit, term_constants=False)
        batch = training.batcher(training.train[:6])
        prediction = training.model(batch)
        energy = training.objective.energy_terms(batch, prediction).mean()
        (energy + training.objective.force_terms(batch, prediction).mean()).backward()
        return torch.cat(
            [p.grad.ravel() for p in training.model.parameters() if p.grad is not None]
        )

    assert torch.allclose(gradient(KCAL), KCAL**power * gradient(1.0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ["raw", "per_atom", "standardized"])
def test_a_weight_with_constants_is_another_weight_without(tiny: Tiny, loss: str) -> None:
    """``ΔE²/r_E² + w ΔF²/r_F²`` is ``ΔE² + w r_E²/r_F² ΔF²`` but for a factor of the whole."""
    weight, index = 3.0, np.arange(8)
    one, bare = training_of(tiny, loss), training_of(tiny, loss, term_constants=False)
    constants = one.objective.constants
    assert constants == bare.objective.constants
    typed = weight * constants["energy"] ** 2 / constants["forces"] ** 2
    losses = []
    for training, w in ((one, weight), (bare, typed)):
        batch = training.batcher(index)
        prediction = training.model(batch)
        terms = (training.objective.energy_terms, training.objective.force_terms)
        energy, force = (term(batch, prediction).mean() for term in terms)
        losses.append((energy + w * force).item())
    assert losses[1] == pytest.approx(constants["energy"] ** 2 * losses[0], rel=1e-6)


def test_constants_are_root_mean_squares_of_the_training_labels(tiny: Tiny) -> None:
    training = training_of(tiny, "per_atom", units_per_ev=KCAL)
    labels, n = training.objective.labels, torch.as_tensor(tiny.graphs.n_atoms)
    energy = (labels.deviation / n)[torch.as_tensor(training.train)].square().mean().sqrt()
    assert training.objective.constants["energy"] == pytest.approx(float(energy), rel=1e-9)
    here = training_of(tiny, "per_atom").objective.constants
    assert training.objective.constants["energy"] == pytest.approx(KCAL * here["energy"])


def test_results_are_in_ev_whatever_the_training_is_in(run_tiny: RunTiny, tiny: Tiny) -> None:
    changes = (("standardized_outputs", 1.0), ("term_constants", 0.0), ("units_per_ev", KCAL))
    base = replace(RUN, energy_loss="standardized")
    there = run_tiny("there", replace(base, changes=changes))
    here = run_tiny("here", replace(base, changes=changes[:2]))
    records = [read_json(files.record) for files in (here, there)]
    assert records[1]["training_settings"]["term_constants"] is False
    assert records[1]["constants"]["forces"] == pytest.approx(1.0, rel=0.2)
    tables = [read_table(files.history) for files in (here, there)]
    for name in ("energy_rmse_ev", "force_rmse_ev_per_angstrom"):
        assert np.allclose(tables[0][name], tables[1][name], rtol=1e-3)
    one, other = (np.load(files.predictions) for files in (here, there))
    for name in ("energy", "forces", "local_energy"):
        assert np.allclose(one[name], other[name], rtol=1e-3, atol=1e-3)
    first, second = (read_table(f.gradient_signal).energy_jacobian for f in (here, there))
    assert np.allclose(first, second, rtol=1e-2)
    same, hashes = [record["hashes"] for record in records], set(records[0]["hashes"])
    differing = {key for key in hashes if same[0][key] != same[1][key]}
    assert differing == {"training", "final_weights"}


def test_settings_take_numbers_for_yes_and_no() -> None:
    grid = RunGrid(vary={"term_constants": (0, 1), "standardized_outputs": (0,)})
    run = replace(RUN, changes=tuple((key, float(value[0])) for key, value in grid.vary.items()))
    _, training = settings_of(run, ModelSpec(representation="schnet"), TrainingSpec())
    assert (training.term_constants, training.standardized_outputs) == (False, False)
    assert run.variant == "term_constants=0,standardized_outputs=0"
    with pytest.raises(ValidationError, match="boolean"):
        RunGrid(vary={"term_constants": (0.5,)})
