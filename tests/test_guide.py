"""The guide says what the tables of advice and verdicts say, and nothing more."""

import numpy as np
import pandas as pd
import pytest

from pesloss.claims.advice import CARRIED, COMPARED
from pesloss.claims.decide import COLUMNS
from pesloss.report.guide import guide

pytestmark = pytest.mark.usefixtures("titled")


def compared(*rows: tuple[str, str, str, float], n_seeds: int = 5, **about: object) -> pd.DataFrame:
    """Rows of dataset, loss, answer and log ratio."""
    found = [
        {
            **{"dataset": dataset, "model": "schnet", "energy_loss": loss, "same_as": np.nan},
            **{"force_weight": 3.0, "n_weights": 4, "at_edge": False, "leads": answer == "leader"},
            **{"log_ratio": ratio, "ci_low": ratio - 0.05, "ci_high": ratio + 0.05},
            **{"answer": answer, "n_seeds": n_seeds, **about},
        }
        for dataset, loss, answer, ratio in rows
    ]
    return pd.DataFrame(found, columns=COMPARED)


def carried(*rows: tuple[str, str, float]) -> pd.DataFrame:
    found = [
        {
            **{"model": "schnet", "energy_loss": loss, "n_datasets": 3, "mean_excess": 0.1},
            **{"worst_excess": 0.2, "worst_dataset": "si_sw", "n_at_edge": 1, "answer": answer},
            **{"log_ratio": ratio, "ci_low": ratio - 0.1, "ci_high": ratio + 0.1},
        }
        for loss, answer, ratio in rows
    ]
    return pd.DataFrame(found, columns=CARRIED)


def claims(**exponents: float) -> pd.DataFrame:
    rows = [
        {
            **{"claim": "C2", "dataset": name, "statistic": "label_exponent", "estimate": value},
            **{"ci_low": value - 0.1, "ci_high": value + 0.1, "options": "estimator=gamma"},
            **{"verdict": "supported" if value < 0.6 else "contradicted", "subject": "labels"},
        }
        for name, value in exponents.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


CLAIMS = claims(xtb_fixed=0.5, xtb_varied=0.55, emt_alloys=1.0)
LEADS = ("emt_alloys", "per_atom", "leader", np.nan)
TIE = ("emt_alloys", "raw", "not told apart", 0.03)
WORSE = ("emt_alloys", "raw", "worse", np.log(1.35))
BETTER = ("emt_alloys", "standardized", "better", np.log(0.91))
NOTHING = carried()


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {name} |"))


def test_what_was_not_compared_is_named_and_not_counted() -> None:
    unlike = ("emt_alloys", "standardized", "not compared", np.nan)
    text = guide(CLAIMS, compared(LEADS, TIE, unlike), NOTHING)
    assert "Of 1 comparisons of another loss with the leader" in text
    assert "not compared: standardized" in row(text, "metal alloys")


def test_where_nothing_is_told_apart_one_sentence_says_so() -> None:
    text = guide(CLAIMS, compared(LEADS, TIE), carried(("raw", "leader", np.nan)))
    assert "No loss is told apart from the leader anywhere." in text
    assert "nothing is advised but a sweep" in text
    assert "Of 1 comparisons of another loss with the leader" in text
    assert "- raw" not in text


def test_the_worse_and_the_better_loss_are_named_with_intervals() -> None:
    text = guide(CLAIMS, compared(LEADS, WORSE, BETTER), NOTHING)
    assert "the leader is better in 1, worse in 1, not told apart in 0" in text
    assert "- raw: worse than the leader on metal alloys (+35 % [+28 %, +42 %])" in text
    assert "worse: raw +35 % [+28 %, +42 %]; better: standardized −9 %" in row(text, "metal alloys")
    assert "| 1.00 [0.90, 1.10] | 1/N | 3 |" in row(text, "metal alloys")
    assert "was not measured" in text


def test_a_loss_at_a_carried_weight_is_named_only_when_told_apart() -> None:
    table = carried(("per_atom", "leader", np.nan), ("raw", "worse", np.log(1.5)))
    text = guide(CLAIMS, compared(LEADS, TIE), table)
    assert "carried over from other data: raw worse than 1/N (+50 % [" in text
    assert "| SchNet | 1/N | +11 % | +22 % (silicon, varied) | 1 of 3 |  | leader |" in text


def test_one_seed_tells_nothing() -> None:
    single = ("one seed", np.nan)
    table = compared(("si_sw", "raw", *single), ("si_sw", "per_atom", *single), n_seeds=1)
    table["leads"] = [True, False]
    text = guide(CLAIMS, table, NOTHING)
    assert "nothing is advised" in text
    assert row(text, "silicon, varied").endswith("| one seed | 1 |")
    assert "nan" not in text


def test_losses_that_are_the_same_stand_together() -> None:
    text = guide(CLAIMS, compared(LEADS, WORSE, same_as="correlated"), NOTHING)
    assert "| 1/N = correlated | 3 |" in text


@pytest.mark.parametrize(
    ("about", "weight"),
    [({"n_weights": 1}, "3 (only one)"), ({"at_edge": True}, "3 (end of the sweep)")],
)
def test_weights_that_may_not_be_the_best_are_marked(about: dict[str, int], weight: str) -> None:
    text = guide(CLAIMS, compared(LEADS, TIE, **about), NOTHING)
    assert f"| 1/N | {weight} |" in row(text, "metal alloys")
    assert ("2 of 2 best weights lie at an end of the sweep" in text) == ("at_edge" in about)


def test_claims_are_counted_after_correction_and_the_refuted_ones_named() -> None:
    found = claims(xtb_fixed=0.9, xtb_varied=0.9, emt_alloys=0.5)
    found["verdict_corrected"] = ["contradicted", "contradicted", "undecided"]
    text = guide(found, compared(LEADS, TIE), NOTHING)
    assert "| C2 label deviations grow as √N | 2 contradicted, 1 undecided |  |" in text
    assert "contradicted by some measurement on 2 of 3 data sets, supported by some on 0" in text


def test_controls_are_left_out() -> None:
    must = CLAIMS.iloc[:1].assign(must_be="supported", claim="C11")
    assert "C11" not in guide(pd.concat([CLAIMS, must]), compared(LEADS, TIE), NOTHING)


def test_a_guide_without_runs_speaks_of_labels() -> None:
    text = guide(CLAIMS, compared(), NOTHING)
    assert "### Which loss" not in text
    assert "C2 label deviations grow as √N" in text
