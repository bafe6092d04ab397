"""The generated parts of the README: counted right, spliced where they belong."""

from collections.abc import Mapping

import pandas as pd
import pytest

from pesloss.job.errors import PeslossError
from pesloss.report.verdicts import duration, run_times, splice, verdict_table

pytestmark = pytest.mark.usefixtures("titled")

TEMPLATE: dict[str, object] = {
    "claim": "C7", "dataset": "si_sw", "model": "schnet", "loss": "raw", "group": None,
    "statistic": "error_exponent", "estimate": 0.9, "ci_low": 0.8, "ci_high": 1.0, "expected": 0.5,
    "margin": 0.1, "verdict": "contradicted", "ablation": "losses_by_size", "subject": "errors",
    "options": None, "relation": "equals", "metric": "mse", "variant": "base", "must_be": None,
}  # fmt: skip


def _claims(*changes: Mapping[str, object]) -> pd.DataFrame:
    return pd.DataFrame([{**TEMPLATE, **change} for change in changes], columns=list(TEMPLATE))


LABELS: dict[str, object] = {"subject": "labels", "model": None, "loss": None, "variant": None}


def test_one_row_a_claim_and_dataset_with_all_losses_in_it() -> None:
    found = verdict_table(_claims({"loss": "standardized", "verdict": "undecided"}, {}))
    rows = [line for line in found.splitlines() if "silicon" in line]
    assert len(rows) == 1
    text = rows[0].replace("\u00a0", " ")
    assert "errors, raw: exponent<br>errors, standardized: exponent" in text
    assert "0.90 [0.80, 1.00]" in text
    assert "0.5 ± 0.1" in text
    assert "✘ contradicted<br>? undecided" in text


def test_a_changed_setting_is_named() -> None:
    changed = ("n_steps=3000", "tuned learning_rate=0.01", "n_steps=3000,n_features=8")
    text = verdict_table(_claims({}, *({"variant": name} for name in changed)))
    rows = [line for line in text.replace("\u00a0", " ").splitlines() if "silicon" in line]
    assert rows[0].split(" | ")[2].split("<br>") == [
        "errors, raw: exponent",
        "errors, raw: exponent (3,000 steps)",
        "errors, raw: exponent (tuned learning rate 0.01)",
        "errors, raw: exponent (3,000 steps, n features 8)",
    ]


def test_groups_are_counted() -> None:
    by = {
        **LABELS,
        "claim": "C1",
        "statistic": "label_moment",
        "options": "moment=variance by=size_group",
    }
    verdicts = ("supported", "supported", "supported", "undecided")
    claims = _claims(*({**by, "group": str(i), "verdict": v} for i, v in enumerate(verdicts)))
    text = verdict_table(claims).replace("\u00a0", " ")
    assert "4 size groups: 3 ✔, 1 ?" in text
    assert "**C1** 3 supported, 1 undecided" in text


def test_the_summary_keeps_labels_and_errors_apart() -> None:
    label = {**LABELS, "claim": "C2", "statistic": "label_exponent", "verdict": "supported"}
    lines = verdict_table(
        _claims({}, {"verdict": "undecided", "loss": "sqrt_n"}, label)
    ).splitlines()
    assert "- On labels, all measurements: **C2** 1 supported." in lines
    errors = "- On errors of trained models, all measurements: **C7** 1 contradicted, 1 undecided."
    assert errors in lines


def test_minor_statistics_count_but_are_not_shown() -> None:
    row = {**LABELS, "claim": "C1", "statistic": "label_moment", "options": "moment=tail"}
    text = verdict_table(_claims({}, row))
    assert "tail" not in text
    assert "**C1** 1 contradicted" in text


def test_controls_stand_apart_and_a_wrong_one_is_counted() -> None:
    right, wrong = {"must_be": "contradicted"}, {"must_be": "supported"}
    assert "Controls: all 1 came out as they must" in verdict_table(_claims({}, right))
    text = verdict_table(_claims(right, wrong))
    assert "Controls: 1 of 2 came out wrong" in text
    assert "No claims were measured" in text


@pytest.mark.parametrize(
    ("relation", "text"), [("greater", "> 0.6"), ("less", "< 0.4"), ("differs", "not 0.5 ± 0.1")]
)
def test_what_is_expected_is_said_by_relation(relation: str, text: str) -> None:
    assert text in verdict_table(_claims({"relation": relation})).replace("\u00a0", " ")


def test_claims_are_in_the_order_of_their_numbers() -> None:
    text = verdict_table(_claims({"claim": "C10"}, {"claim": "C2"}))
    assert text.index("C2 ") < text.index("C10 ")


def test_splice_replaces_what_is_between_the_markers_and_nothing_else() -> None:
    text = "a\n<!-- generated: x -->\nold \\1\n<!-- end: x -->\nb\n"
    once = splice(text, "x", "new \\1 | table\n")
    assert once == "a\n<!-- generated: x -->\nnew \\1 | table\n<!-- end: x -->\nb\n"
    assert splice(once, "x", "new \\1 | table\n") == once
    assert splice(once, "x", "old \\1") == text


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "<!-- generated: x -->",
        "<!-- end: x --> <!-- generated: x -->",
        "<!-- generated: x --> <!-- generated: x --> <!-- end: x -->",
    ],
)
def test_splice_wants_each_marker_once_and_in_order(text: str) -> None:
    with pytest.raises(PeslossError, match="README: marker"):
        splice(text, "x", "block")


def test_run_times_are_added_up() -> None:
    cost = pd.DataFrame(
        {
            "rule": ["cheap", "train_run"],
            "n_jobs": [2, 10],
            "seconds": [4.2, 4000.0],
            "longest_seconds": [3.0, 59.7],
            "peak_memory_mib": [100.0, 612.4],
        }
    )
    lines = run_times(cost).splitlines()
    assert lines[2] == "| train_run | 10 | 1 h 6 min | 1 min 0 s | 612 MiB |"
    assert lines[-1].startswith("| **all** | 12 | 1 h 6 min |")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4 s"), (9.97, "10 s"), (59.4, "59 s"), (200, "3 min 20 s")]
)
def test_durations_are_in_round_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
