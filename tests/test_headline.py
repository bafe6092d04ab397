"""The exponent table of the README."""

import pandas as pd
import pytest

from pesloss.report.exponents import exponent_table

pytestmark = pytest.mark.usefixtures("titled")


def row(claim: str, estimate: float, verdict: str, **other: str) -> dict[str, object]:
    statistic = "label_exponent" if claim == "C2" else "error_exponent"
    usual = {"dataset": "si_sw", "model": "", "loss": "", "options": "", "must_be": "", "group": ""}
    numbers = {"estimate": estimate, "ci_low": estimate - 0.05, "ci_high": estimate + 0.05}
    about = {"claim": claim, "statistic": statistic, "verdict": verdict, "variant": ""}
    return {**usual, **numbers, **about, **other}


LABELS = row("C2", 0.9, "contradicted", options="estimator=gamma")


def cells(table: str, line: int) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[line].strip("|").split("|")]


def test_labels_and_errors_of_a_dataset_stand_in_one_row() -> None:
    claims = pd.DataFrame(
        [
            LABELS,
            row("C2", 0.8, "contradicted", options="estimator=line"),
            row("C2", 0.5, "supported", options="by=phase", group="diamond"),
            row("C2", 0.7, "undecided", options="by=phase", group="liquid"),
            row("C7", 0.6, "undecided", model="schnet", loss="raw", variant="base"),
            row("C7", 0.4, "supported", model="schnet", loss="standardized", variant="base"),
        ]
    )
    table = exponent_table(claims)
    assert len(table.splitlines()) == 3
    assert cells(table, 2)[1:] == [
        "0.90 [0.85, 0.95] ✘",
        "0.50 to 0.70 (1 ✔, 1 ?)",
        "0.60 [0.55, 0.65] ?",
        "0.40 [0.35, 0.45] ✔",
    ]


def test_controls_and_changed_settings_are_not_in_it() -> None:
    claims = pd.DataFrame(
        [
            LABELS,
            row("C2", 0.1, "supported", dataset="labels_kappa", must_be="supported"),
            row("C7", 0.6, "undecided", model="schnet", loss="raw", variant="cutoff=9"),
        ]
    )
    table = exponent_table(claims)
    assert "0.10" not in table
    assert "0.60" not in table


def test_trainings_of_another_length_have_a_row_of_their_own() -> None:
    longer = {"loss": "raw", "variant": "n_steps=3000"}
    claims = pd.DataFrame(
        [
            LABELS,
            row("C7", 0.8, "undecided", model="painn", **longer),
            row("C7", 0.7, "undecided", model="schnet", **longer),
            row("C7", 0.6, "undecided", model="schnet", loss="raw", variant="base"),
        ]
    )
    table = exponent_table(claims)
    assert [cells(table, line)[0] for line in (2, 3, 4)] == [
        "silicon, varied", "silicon, varied, 3,000 steps", "silicon, varied, PaiNN, 3,000 steps"
    ]  # fmt: skip
    assert [cells(table, line)[1] for line in (2, 3, 4)] == ["0.90 [0.85, 0.95] ✘", "", ""]
    assert [cells(table, line)[3][:4] for line in (2, 3, 4)] == ["0.60", "0.70", "0.80"]


BEST = pd.DataFrame(
    {
        "dataset": ["si_sw", "emt_alloys"],
        "best_p_variance": [1.25, float("nan")],
        "best_p_variance_low": [1.0, float("nan")],
        "best_p_variance_high": [1.5, float("nan")],
    }
)


def test_best_exponents_stand_in_the_row_of_the_usual_model_where_there_are_some() -> None:
    errors = {"loss": "raw", "variant": "base"}
    claims = pd.DataFrame(
        [
            LABELS,
            row("C7", 0.6, "undecided", model="schnet", **errors),
            row("C7", 0.5, "supported", model="painn", **errors),
            row("C2", 0.7, "contradicted", options="estimator=gamma", dataset="emt_alloys"),
            row("C2", 0.8, "contradicted", options="estimator=gamma", dataset="labels"),
        ]
    )
    without, table = exponent_table(claims), exponent_table(claims, BEST)
    assert "best p" not in without
    assert cells(table, 0)[-1] == "best p, linear model"
    assert "1.25 [1.00, 1.50]" in table
    assert table.count("1.25") == 1
    lines = [cells(table, i) for i in range(2, len(table.splitlines()))]
    assert [line[:-1] for line in lines] == [cells(without, i + 2) for i in range(len(lines))]
    filled = [line for line in lines if line[-1]]
    assert len(lines) == 4
    assert len(filled) == 1
    assert "0.90 [0.85, 0.95] ✘" in filled[0]
    assert "0.60 [0.55, 0.65] ?" in filled[0]
