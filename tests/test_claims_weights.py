"""Best force weights, their spread and regrets, from planted curves; differences between units."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Tiny, failure
from numpy.typing import NDArray
from planted_runs import BEND, HASHES, Planted

from pesloss.claims import measures as statistics
from pesloss.claims.measurement import Measurement, NotMeasurable, Sampling
from pesloss.claims.runs import Study
from pesloss.claims.weight_tables import ALL, REGRETS, WEIGHTS, weight_tables
from pesloss.claims.weights import (
    DECADES_TO_BOHR,
    Transfer,
    lowest,
    one_for_all,
    sweep_of,
    transfers,
)
from pesloss.evaluation.score import score, score_terms, weighted_score
from pesloss.spec.run import Run

Array = NDArray[np.float64]


@pytest.fixture
def planted(tmp_path: Path, tiny: Tiny) -> Planted:
    return Planted(tmp_path, tiny.statistics)


def measure(name: str, data: Study, **options: str) -> list[Measurement]:
    sampling = Sampling(np.random.default_rng(0), 300, 0.95)
    return list(statistics.load(name, "test", options).measure(data, options, sampling))


def ones(transfer: Transfer) -> Array:
    n = sum(sweep.terms.shape[-1] for sweep in transfer.sweeps)
    return np.ones((1, transfer.sweeps[0].terms.shape[1], n))


BEST = {"a": -0.6, "bb": 0.1, "ccc": 0.8}


def test_a_weighted_score_is_the_score_of_repeated_structures(planted: Planted) -> None:
    planted.sweeps({"a": 0.0})
    errors = planted.results[0].structures
    times = np.random.default_rng(3).integers(0, 4, len(errors))
    repeated = errors.loc[np.repeat(errors.index, times)]
    found = weighted_score(score_terms(errors)[None], times[None, None].astype(float))
    assert found[0] == pytest.approx(score(repeated), rel=1e-12)


def test_seeds_are_pooled_in_a_weighted_score(planted: Planted) -> None:
    tables = [r.structures for r in planted.sweeps({"a": 0.0}, weights=(1.0,)).results]
    together = weighted_score(np.array([score_terms(t) for t in tables]), np.ones((1, 2, 240)))
    assert together[0] == pytest.approx(score(pd.concat(tables)), rel=1e-12)


@pytest.mark.parametrize("weights", [(0.1, 1.0, 10.0), (0.01, 0.1, 1.0, 10.0, 100.0)])
def test_planted_best_weights_are_found(planted: Planted, weights: tuple[float, ...]) -> None:
    transfer = planted.sweeps(BEST, weights=weights).transfer()
    assert transfer.best(ones(transfer))[:, 0] == pytest.approx(list(BEST.values()), abs=1e-9)


def test_a_best_weight_beyond_the_sweep_is_at_its_end() -> None:
    curves = np.array([[1.0, 1.0, -1.0, -1.0, 0.0], [6.0, -0.8, 1.0, -1.0, 0.0], [0.0] * 5])
    assert lowest(curves, -1.0, 1.0) == pytest.approx([-1.0, 0.4, -1.0, 1.0, -1.0])


CONSTANTS = {"a": (30.0, 2.0), "bb": (4.0, 1.0), "ccc": (0.5, 0.1)}


def test_users_type_the_weight_times_the_constants(planted: Planted) -> None:
    planted.sweeps(BEST, "raw", CONSTANTS).sweeps(BEST, "standardized", CONSTANTS)
    for loss, has_units in (("raw", True), ("standardized", False)):
        transfer = planted.transfer(loss)
        users = 10 ** transfer.users(transfer.best(ones(transfer)))[:, 0]
        for user, (name, where) in zip(users, BEST.items(), strict=True):
            energy, forces = CONSTANTS[name]
            square = energy**2 / (forces**2 if has_units else 1.0)
            assert user == pytest.approx(10**where * square, rel=1e-6)


def test_a_run_without_constants_was_given_the_users_weight(planted: Planted) -> None:
    run = Run("a", "schnet", "raw")
    planted.add(run, lambda run, t: np.zeros(len(t)), (30.0, 2.0), {"term_constants": False})
    assert sweep_of(planted.study().comparisons[0], "raw").shift == 0


@pytest.mark.parametrize("loss", ["raw", "per_atom"])
def test_a_unit_of_length_is_an_exact_factor_and_one_of_energy_cancels(
    planted: Planted, loss: str
) -> None:
    """``w ΔF²`` in eV/bohr is as large when w is 1/0.529² times as large; r_E²/r_F² is in Å²."""
    kcal = {name: (23.0605 * e, 23.0605 * f) for name, (e, f) in CONSTANTS.items()}
    bohr = {name: (e, 0.529177210903 * f) for name, (e, f) in CONSTANTS.items()}
    users = []
    for constants in (CONSTANTS, kcal, bohr):
        planted.results.clear()
        transfer = planted.sweeps(BEST, loss, constants).transfer(loss)
        users.append(transfer.users(transfer.best(ones(transfer)))[:, 0])
    assert users[1] == pytest.approx(users[0], abs=1e-9)
    assert users[2] - users[0] == pytest.approx(np.full(3, DECADES_TO_BOHR), abs=1e-6)


def test_equal_best_weights_have_no_spread_and_no_regret(planted: Planted) -> None:
    data = planted.sweeps(dict.fromkeys(BEST, 0.3), "raw").study()
    for name in ("best_weight_spread", "weight_regret"):
        (found,) = measure(name, data)
        assert (found.estimate, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-9)
        assert (found.loss, found.n_seeds, found.n_structures) == ("raw", 2, 3 * 240)


def test_the_spread_is_the_standard_deviation_of_the_users_decades(planted: Planted) -> None:
    data = planted.sweeps(BEST, "raw", CONSTANTS).sweeps(BEST, "standardized").study()
    squares = [2 * np.log10(energy / forces) for energy, forces in CONSTANTS.values()]
    decades = np.array(list(BEST.values())) + squares
    raw, standardized = measure("best_weight_spread", data)
    assert raw.estimate == pytest.approx(np.std(decades, ddof=1), abs=1e-9)
    assert standardized.estimate == pytest.approx(0.7, abs=1e-9)
    assert raw.group == "3 datasets, 0 at an end of the sweep"
    (beyond,) = measure("best_weight_spread", data, against="standardized")
    assert beyond.loss == "raw"
    assert beyond.estimate == pytest.approx(raw.estimate - 0.7, abs=1e-9)
    raw, standardized = measure("best_weight_spread", data, units="several")
    both = [*decades, *(decades + DECADES_TO_BOHR)]
    assert raw.estimate == pytest.approx(np.std(both, ddof=1), abs=1e-9)
    twice = [*BEST.values()] * 2
    assert standardized.estimate == pytest.approx(np.std(twice, ddof=1), abs=1e-9)


def test_regret_is_the_height_of_the_planted_curve(planted: Planted) -> None:
    planted.sweeps(BEST)
    transfer = planted.transfer()
    regrets, outside = transfer.regrets(ones(transfer))
    where = np.array(list(BEST.values()))
    expected = BEND * (where[:, None] - where[None]) ** 2
    assert regrets[..., 0] == pytest.approx(expected, abs=1e-9)
    assert (np.diagonal(regrets[..., 0]) == 0).all()
    assert not outside.any()
    (mean,), (worst,) = (measure("weight_regret", planted.study(), of=o) for o in ("mean", "worst"))
    assert mean.estimate == pytest.approx(expected.sum() / 6, abs=1e-9)
    assert worst.estimate == pytest.approx(BEND * 1.4**2, abs=1e-9)


def test_the_regret_is_that_of_the_dataset_where_a_weight_is_used(planted: Planted) -> None:
    data = planted.sweeps({"flat": 0.0}, bend=0.1).sweeps({"steep": 1.0}, bend=0.4).study()
    _, regrets = weight_tables(data)
    found = regrets.set_index(["taken_from", "used_on"]).regret
    assert found["steep", "flat"] == pytest.approx(0.1)
    assert found["flat", "steep"] == pytest.approx(0.4)
    ((_, by_loss),) = transfers(data.comparisons)
    of, _ = by_loss["raw"].regrets(ones(by_loss["raw"]))
    assert (of[1, 0, 0], of[0, 1, 0]) == pytest.approx((0.1, 0.4))


def test_a_weight_beyond_the_sweep_costs_what_its_end_costs_and_is_counted(
    planted: Planted,
) -> None:
    planted.sweeps({"a": 0.0, "bb": 0.0}, "raw", {"a": (10.0, 1.0), "bb": (1.0, 1.0)})
    transfer = planted.transfer()
    regrets, outside = transfer.regrets(ones(transfer))
    assert regrets[..., 0] == pytest.approx(np.array([[0, BEND], [BEND, 0]]), abs=1e-9)
    assert outside[..., 0].tolist() == [[False, True], [True, False]]
    (found,) = measure("weight_regret", planted.study())
    assert found.group == "2 pairs, 2 at an end of the sweep"


def test_with_noise_the_interval_holds_the_truth(planted: Planted) -> None:
    data = planted.sweeps(BEST, "raw", CONSTANTS, noise=0.3).study()
    squares = [2 * np.log10(energy / forces) for energy, forces in CONSTANTS.values()]
    truth = np.std(np.array(list(BEST.values())) + squares, ddof=1)
    (found,) = measure("best_weight_spread", data)
    assert found.low < truth < found.high
    assert found.high > found.low


def test_what_cannot_be_compared_is_said(planted: Planted) -> None:
    with pytest.raises(NotMeasurable, match="a: one dataset alone"):
        measure("best_weight_spread", planted.sweeps({"a": 0.0}).study())
    with pytest.raises(NotMeasurable, match="no run of loss standardized"):
        measure("weight_regret", planted.sweeps({"bb": 0.0}).study(), against="standardized")
    planted.results.clear()
    few = planted.sweeps(BEST, weights=(0.1, 1.0)).study()
    with pytest.raises(NotMeasurable, match="a: 2 force weights; needed: 3"):
        measure("best_weight_spread", few)
    assert [table.empty for table in weight_tables(few)] == [True, True]
    planted.results.clear()
    mixed = planted.sweeps({"a": 0.0}).sweeps({"bb": 0.0}, seeds=(1, 2)).study()
    text = failure(lambda: measure("best_weight_spread", mixed))
    assert text.startswith("bb: seeds are [1, 2]; allowed: [0, 1]")


def test_a_record_without_constants_is_named(planted: Planted) -> None:
    data = planted.sweeps(BEST).study()
    del data.comparisons[1].results[0].record["constants"]
    text = failure(lambda: measure("weight_regret", data))
    assert "bb/schnet/base/raw-raw-mse/weight-0.1/seed-0: lacks key 'constants'" in text


def test_tables_hold_what_was_planted(planted: Planted) -> None:
    planted.sweeps(BEST, "raw", CONSTANTS).sweeps(BEST, "standardized", CONSTANTS, seeds=(0, 1))
    weights, regrets = weight_tables(planted.study())
    assert (list(weights), list(regrets)) == (WEIGHTS, REGRETS)
    row = weights[(weights.energy_loss == "raw") & (weights.dataset == "ccc")].iloc[0]
    assert row.best_weight == pytest.approx(10**0.8)
    assert row.user_weight == pytest.approx(10**0.8 * 25)
    assert row.user_weight_bohr == pytest.approx(10**0.8 * 25 / 0.529177210903**2, rel=1e-6)
    assert (row.energy_constant, row.force_constant) == pytest.approx((0.5, 0.1))
    assert row.scores.startswith("0.1:")
    own = regrets[regrets.taken_from == regrets.used_on]
    assert own.regret.abs().max() < 1e-12
    assert len(regrets) == 2 * 3 * 4


def test_one_weight_for_all_is_the_mean_of_equally_bent_curves(planted: Planted) -> None:
    transfer = planted.sweeps({"a": -0.3, "bb": 0.1, "ccc": 0.5}).transfer()
    assert one_for_all(transfer) == pytest.approx(0.1, abs=0.01)
    _, regrets = weight_tables(planted.study())
    shared = regrets[regrets.taken_from == ALL].set_index("used_on").regret
    assert shared.to_numpy() == pytest.approx([BEND * 0.16, 0, BEND * 0.16], abs=2e-3)


BASE = Run("a", "schnet", "raw", changes=(("units_per_ev", 1.0),))


def constant(value: float, run: Run, table: pd.DataFrame) -> Array:
    return np.full(len(table), value)


def in_units(planted: Planted, shift: float, hashes: Mapping[str, str] | None = None) -> Study:
    """Runs in eV and in kcal/mol whose errors differ by a known factor."""
    for unit, log in ((1.0, 0.0), (23.0605, shift)):
        for seed in (0, 1):
            run = replace(BASE, seed=seed, changes=(("units_per_ev", unit),))
            more = (hashes or {}) if unit != 1 else {}
            errors = partial(constant, log)
            marked = {"training": f"{unit}", **more}
            planted.add(run, errors, settings={"units_per_ev": unit}, hashes=marked)
    return planted.study()


@pytest.mark.parametrize("shift", [0.0, np.log(1.1), np.log(3.0)])
def test_a_difference_between_units_is_relative_to_the_errors(
    planted: Planted, shift: float
) -> None:
    (found,) = measure("unit_difference", in_units(planted, shift))
    assert found.estimate == pytest.approx(np.exp(shift) - 1, abs=1e-12)
    assert found.group == "kcal/mol, standardized outputs"
    assert (found.loss, found.n_seeds, found.dataset) == ("raw", 2, "a")


@pytest.mark.parametrize("key", [key for key in HASHES if key != "training"])
def test_runs_that_differ_in_more_than_the_unit_are_refused(planted: Planted, key: str) -> None:
    data = in_units(planted, 0.0, {key: "other"})
    assert f"hash of {key} is 'other'" in failure(lambda: measure("unit_difference", data))


def test_without_runs_in_another_unit_there_is_no_difference(planted: Planted) -> None:
    data = in_units(planted, 0.0)
    with pytest.raises(NotMeasurable, match="no runs with plain outputs in eV and in another"):
        measure("unit_difference", data, outputs="plain")
    alone = Study({}, data.comparisons[:1])
    with pytest.raises(NotMeasurable, match="no runs with standardized outputs"):
        measure("unit_difference", alone)
