"""The guide says what the tables say: planted winners are named, planted ties are not."""

import itertools

import numpy as np
import pandas as pd
import pytest

from pesloss.claims.decide import COLUMNS
from pesloss.guide import SCORED, at_own_best_weight, compared, guide, regrets, scored

SEEDS, WEIGHTS = range(5), (0.1, 1.0, 10.0)
DATA = ("xtb_fixed", "xtb_varied", "emt_alloys")


def _runs(effect: dict[str, float], noise: float = 0.03, seeds: range = SEEDS) -> pd.DataFrame:
    """Runs whose log errors are those of dataset, seed and loss, least at weight 1."""
    rng, rows = np.random.default_rng(3), []
    for dataset, seed in itertools.product(DATA, seeds):
        shared = rng.normal(scale=0.5)  # of the seed: it cancels between losses
        for (loss, worse), weight in itertools.product(effect.items(), WEIGHTS):
            own = shared + worse + 0.1 * abs(np.log10(weight)) + rng.normal(scale=noise)
            error = float(np.exp(own))
            rows.append(
                {
                    **{"dataset": dataset, "model": "schnet", "energy_loss": loss, "seed": seed},
                    **{"force_loss": "raw", "metric": "mse", "variant": "base"},
                    **{"force_weight": weight, "validation_score": own},
                    **{**dict.fromkeys(SCORED, error), "force_rmse_mev_per_angstrom": error},
                }
            )
    return pd.DataFrame(rows)


def _claims(**exponents: float) -> pd.DataFrame:
    rows = [
        {
            **{"claim": "C2", "dataset": name, "statistic": "label_exponent", "estimate": value},
            **{"ci_low": value - 0.1, "ci_high": value + 0.1, "options": "estimator=gamma"},
            **{"verdict": "supported" if value < 0.6 else "contradicted", "subject": "labels"},
        }
        for name, value in exponents.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


CLAIMS = _claims(xtb_fixed=0.5, xtb_varied=0.55, emt_alloys=1.0)


def _row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {name} |"))


def test_equal_losses_cannot_be_told_apart() -> None:
    text = guide(CLAIMS, _runs({"raw": 0.0, "per_atom": 0.0, "standardized": 0.0}))
    for name in ("xTB clusters, varied", "metal alloys"):
        assert "cannot be told apart" in _row(text, name)
        assert "worse" not in _row(text, name)


def test_the_better_loss_is_named_and_by_how_much() -> None:
    text = guide(CLAIMS, _runs({"raw": 0.5, "per_atom": 0.0, "standardized": 0.5}))
    row = _row(text, "metal alloys")
    assert "| 1/N | 1 | worse: raw +" in row
    assert "standardized +" in row
    assert "cannot be told apart" not in row
    found = compared(at_own_best_weight(scored(_runs({"raw": 0.5, "per_atom": 0.0}))), "seed")
    error = 0.03 * np.sqrt(2 / len(SEEDS))
    assert found.iloc[1].difference == pytest.approx(0.5, abs=4 * error)
    assert found.iloc[1].low < 0.5 < found.iloc[1].high
    assert "1/N: leads on 3 of 3" in text
    assert "told apart from every other loss on 3 of 3" in text
    assert "raw: leads on 0 of 3, cannot be told apart from the leader on 0, worse on 3" in text


def test_the_answer_does_not_depend_on_units_or_the_order_of_rows() -> None:
    runs = _runs({"raw": 0.2, "per_atom": 0.0, "sqrt_n": 0.05})
    energies = {name: 27.2 * runs[name] for name in SCORED}
    other = runs.assign(**energies).sample(frac=1, random_state=0)
    assert guide(CLAIMS, other) == guide(CLAIMS, runs)


def test_one_seed_tells_nothing_apart() -> None:
    text = guide(CLAIMS, _runs({"raw": 0.5, "per_atom": 0.0}, seeds=range(1)))
    assert "cannot be told apart: one seed" in _row(text, "metal alloys")
    assert "nan" not in text
    assert "told apart from every other loss on 0 of 3" in text


def test_false_alarms_are_as_rare_as_the_level_says() -> None:
    rng, alarms, n = np.random.default_rng(11), 0, 200
    for _ in range(n):
        table = pd.DataFrame(itertools.product("abcd", range(4)), columns=["energy_loss", "seed"])
        table["score"] = rng.normal(size=len(table))
        table["validation_score"] = rng.normal(size=len(table))
        others = compared(table, "seed").iloc[1:]
        alarms += bool(((others.low > 0) | (others.high < 0)).any())
    assert alarms / n <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)
    assert alarms > 0


def test_losses_of_controls_are_left_out() -> None:
    runs = _runs({"raw": 0.1, "per_atom": 0.0, "control_twice": -1.0})
    control = CLAIMS.iloc[:1].assign(loss="control_twice", claim="C12")
    text = guide(pd.concat([CLAIMS, control]), runs)
    assert "control" not in text
    assert "C12" not in text
    must = CLAIMS.iloc[:1].assign(must_be="supported", claim="C11")
    assert "C11" not in guide(pd.concat([CLAIMS, must]), runs)


def test_kinds_of_data_are_kept_apart() -> None:
    text = guide(CLAIMS, _runs({"raw": 0.3, "per_atom": 0.0}))
    assert "Where label deviations grow about as √N (exponent within ½ ± ¼), 2 pairs" in text
    assert "about as N (exponent within 1 ± ¼), 1 pair of data and model: too few" in text
    assert "otherwise" not in text
    assert "otherwise, or it is not known, 3 pairs" in guide(
        _claims(si_sw=1.0), _runs({"raw": 0.3})
    )


def test_regret_is_least_at_the_planted_weight_and_loss() -> None:
    table = regrets(scored(_runs({"raw": 0.4, "per_atom": 0.0})))
    best = table.iloc[0]
    assert (best.energy_loss, best.force_weight, best.n) == ("per_atom", 1.0, 3)
    raw = table[(table.energy_loss == "raw") & (table.force_weight == 10.0)].iloc[0]
    error = 0.03 * np.sqrt(2 / len(SEEDS) / len(DATA))
    assert raw.mean_regret == pytest.approx(0.5, abs=4 * error)
    assert "1/N at force weight 1." in guide(CLAIMS, _runs({"raw": 0.4, "per_atom": 0.0}))


def test_claims_are_counted_and_the_refuted_ones_named() -> None:
    claims = _claims(xtb_fixed=0.9, xtb_varied=0.9, emt_alloys=0.5)
    text = guide(claims, _runs({"raw": 0.0}))
    assert "| C2 label deviations grow as √N | 1 supported, 2 contradicted |  |" in text
    assert "contradicted by some measurement on 2 of 3 data sets, supported by some on 1" in text


def test_one_species_is_named() -> None:
    statistics = pd.DataFrame({"dataset": ["xtb_fixed", "emt_alloys", "emt_alloys"],
                               "species": ["Si", "Al", "Cu"]})  # fmt: skip
    text = guide(CLAIMS, _runs({"raw": 0.0}), statistics)
    assert "One species (xTB clusters, one amplitude):" in text


def test_data_without_a_sweep_are_marked() -> None:
    runs = _runs({"raw": 0.3, "per_atom": 0.0})
    one = runs[(runs.dataset != "emt_alloys") | (runs.force_weight == 1.0)]
    assert "| 1/N | 1 (only one) |" in _row(guide(CLAIMS, one), "metal alloys")
    assert "| 1/N | 1 |" in _row(guide(CLAIMS, one), "xTB clusters, varied")


def test_data_without_a_sweep_are_not_counted() -> None:
    runs = _runs({"raw": 0.3, "per_atom": 0.0})
    one = runs[(runs.dataset != "emt_alloys") | (runs.force_weight == 1.0)]
    text = guide(CLAIMS, one)
    assert "Over 2 pairs of data and model (1 at one force weight alone are not counted):" in text
    assert "- 1/N: leads on 2 of 2," in text
    none = runs[runs.force_weight == 1.0]
    assert "Over 3 pairs of data and model:" in guide(CLAIMS, none)


def test_a_guide_without_runs_speaks_of_labels() -> None:
    text = guide(CLAIMS, _runs({"raw": 0.0}).iloc[:0])
    assert "No trainings." in text
    assert "Which loss" not in text


def test_further_tables_get_a_section_each() -> None:
    more = pd.DataFrame({"best_exponent": np.arange(30) / 8, "dataset": "si_sw"})
    text = guide(CLAIMS, _runs({"raw": 0.0}), None, {"best_exponent": more, "none": more.iloc[:0]})
    assert "### Best exponent\n\nThe first 12 of 30 rows." in text
    assert "| 0.12 | silicon, varied |" in text
    assert "None" not in text
