"""Advice is decided: planted winners are named, ties are not, and nothing judges itself."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Tiny
from planted_runs import BEND, Array, Planted

from pesloss.claims.advice import CARRIED, COMPARED, carried_table, compared_table, same_losses
from pesloss.inference import adjust
from pesloss.spec.run import Run
from pesloss.statistics.dataset import DatasetStatistics

N_RESAMPLES = 200


@pytest.fixture
def planted(tmp_path: Path, tiny: Tiny) -> Planted:
    return Planted(tmp_path, tiny.statistics)


def add(
    planted: Planted,
    effects: Mapping[str, float],
    dataset: str = "a",
    seeds: range = range(4),
    on_test: Mapping[str, float] | None = None,
    key: int = 0,
    force_weight: float = 1.0,
) -> None:
    """Runs whose log errors are shared by structures, plus an effect of the loss, plus noise."""
    for place, loss in enumerate(effects):
        for seed in seeds:

            def log_error(run: Run, table: pd.DataFrame, place: int = place) -> Array:
                rng = np.random.default_rng([key, run.seed, place, len(run.dataset)])
                other = (on_test or {}).get(run.energy_loss, 0.0) * (table.split == "test")
                noise = 0.02 * rng.normal() + 0.3 * rng.normal(size=len(table))
                return np.asarray(effects[run.energy_loss] + other + noise)

            planted.add(
                Run(dataset, "schnet", loss, force_weight=force_weight, seed=seed), log_error
            )


def compared(planted: Planted) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    found = compared_table(planted.study(pooled=True).comparisons, rng, N_RESAMPLES)
    return found.set_index(["dataset", "energy_loss"])


def test_the_worse_loss_is_named_and_by_how_much(planted: Planted) -> None:
    add(planted, {"raw": 0.4, "per_atom": 0.0, "sqrt_n": 0.0})
    found = compared(planted)
    assert found.answer["a", "raw"] == "worse"
    assert found.ci_low["a", "raw"] < 0.4 < found.ci_high["a", "raw"]
    assert sorted(found.answer.drop(("a", "raw"))) == ["leader", "not told apart"]


def test_ties_are_seldom_told_apart(tmp_path: Path, tiny: Tiny) -> None:
    wrong = 0
    for key in range(30):
        planted = Planted(tmp_path / str(key), tiny.statistics, n=80)
        add(planted, {"raw": 0.0, "per_atom": 0.0, "sqrt_n": 0.0}, key=key, seeds=range(3))
        wrong += bool(compared(planted).answer.isin(["worse", "better"]).any())
    assert wrong <= 5  # 1.5 expected at 5 %; more than 5 by chance in 0.3 of 100 cases


def test_who_leads_is_chosen_on_validation_and_told_by_test(planted: Planted) -> None:
    add(planted, {"raw": 0.0, "per_atom": 0.2}, on_test={"raw": 0.6})
    found = compared(planted)
    assert found.answer["a", "raw"] == "leader"
    assert found.answer["a", "per_atom"] == "better"
    assert found.log_ratio["a", "per_atom"] == pytest.approx(-0.4, abs=0.1)


def test_losses_of_several_ablations_may_have_other_weights_and_seeds(planted: Planted) -> None:
    """As one suite has them: not every loss is trained at every weight, or with every seed."""
    add(planted, {"raw": 0.3, "per_atom": 0.0}, force_weight=1.0)
    add(planted, {"raw": 0.0, "per_atom": 0.5, "sqrt_n": 0.6}, force_weight=10.0, seeds=range(6))
    add(planted, {"calibrated": 0.0}, force_weight=100.0)
    found = compared(planted)
    n_weights = {"raw": 2, "per_atom": 2, "sqrt_n": 1, "calibrated": 1}
    assert found.n_weights["a"].to_dict() == n_weights
    assert set(found.n_seeds) == {4}
    assert found.force_weight["a", "raw"] == 10.0
    assert found.force_weight["a", "per_atom"] == 1.0


def test_two_losses_are_compared_at_weights_that_both_have(planted: Planted) -> None:
    add(planted, {"raw": 0.5, "per_atom": 0.5}, force_weight=1.0)
    add(planted, {"raw": 0.0}, force_weight=10.0)
    found = compared(planted)
    assert found.answer["a", "raw"] == "leader"
    assert found.force_weight["a", "raw"] == 10.0
    assert found.answer["a", "per_atom"] == "not told apart"  # worse by 0.5, but at other weights
    assert found.log_ratio["a", "per_atom"] == pytest.approx(0.0, abs=0.1)


def test_losses_without_a_weight_in_common_are_not_compared(planted: Planted) -> None:
    add(planted, {"raw": 0.0}, force_weight=1.0)
    add(planted, {"per_atom": 1.0}, force_weight=10.0)
    found = compared(planted)
    assert np.isnan(found.log_ratio["a", "per_atom"])
    assert found.answer["a", "per_atom"] == "not compared"


def test_one_seed_advises_nothing(planted: Planted) -> None:
    add(planted, {"raw": 1.0, "per_atom": 0.0}, seeds=range(1))
    add(planted, {"raw": 1.0, "per_atom": 0.0}, dataset="bb")
    found = compared(planted)
    assert set(found.answer["a"]) == {"one seed"}
    assert np.isnan(found.p_value["a", "raw"])
    assert found.answer["bb", "raw"] == "worse"


def test_comparisons_are_corrected_for_their_number(planted: Planted) -> None:
    for dataset in ("a", "bb", "ccc", "dddd"):
        add(planted, {"raw": 0.06, "per_atom": 0.0}, dataset=dataset)
    found = compared(planted)
    tested = found[found.p_value.notna()]
    assert len(tested) == 4
    assert tested.p_corrected.to_numpy() == pytest.approx(adjust(tested.p_value))
    assert tested.p_corrected.min() == pytest.approx(4 * tested.p_value.min())


def statistics_with(tiny: Tiny, **changed: object) -> DatasetStatistics:
    return replace(tiny.statistics, **changed)  # type: ignore[arg-type]


def test_losses_that_are_the_same_on_the_data_are_one(tiny: Tiny) -> None:
    names = ["calibrated", "correlated", "per_atom", "raw", "sqrt_n", "standardized"]
    different = same_losses(names, tiny.statistics)
    assert different == {name: name for name in names}
    shared = {"kappa": 0.0, "tau": 0.1, "std": [0.0, 0.0]}
    alike = statistics_with(tiny, local_energy_scale=(0.4, 0.4), shared=shared)
    found = same_losses(names, alike)
    assert found == {
        **{name: name for name in names},
        "standardized": "sqrt_n",
        "correlated": "per_atom",
    }


def test_a_loss_is_not_compared_with_itself(tiny: Tiny, tmp_path: Path) -> None:
    planted = Planted(tmp_path, statistics_with(tiny, local_energy_scale=(0.4, 0.4)))
    add(planted, {"sqrt_n": 0.0, "standardized": 0.0, "raw": 0.4})
    found = compared(planted)
    assert list(found.loc["a"].index) == ["sqrt_n", "raw"]
    assert found.same_as["a", "sqrt_n"] == "standardized"


def test_a_weight_is_judged_on_data_that_did_not_choose_it(planted: Planted) -> None:
    best = {"a": -0.5, "bb": 0.5, "ccc": 0.0}
    planted.sweeps(best, loss="raw").sweeps(dict.fromkeys(best, 0.2), loss="per_atom")
    found = carried_table(planted.study().comparisons).set_index("energy_loss")
    where = np.array(list(best.values()))
    others = (where.sum() - where) / 2  # parabolas of one bend are lowest in the middle
    expected = BEND * (where - others) ** 2
    assert found.mean_excess["raw"] == pytest.approx(expected.mean(), abs=1e-3)
    assert found.worst_excess["raw"] == pytest.approx(expected.max(), abs=1e-3)
    assert found.mean_excess["per_atom"] == pytest.approx(0.0, abs=1e-3)
    assert found.answer["per_atom"] == "leader"
    assert found.worst_dataset["raw"] in ("a", "bb")


def test_few_datasets_advise_no_weight(planted: Planted) -> None:
    planted.sweeps({"a": 0.0, "bb": 0.1}, loss="raw")
    found = carried_table(planted.study().comparisons)
    assert list(found.columns) == CARRIED
    assert found.empty


def test_other_settings_and_controls_advise_nothing(planted: Planted) -> None:
    add(planted, {"raw": 0.0, "control_same": 0.0})
    assert compared_table(planted.study().comparisons, np.random.default_rng(0), 50).empty
    assert list(compared_table([], np.random.default_rng(0), 50).columns) == COMPARED
