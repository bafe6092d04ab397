"""Verdicts follow from intervals, and mirror each other."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pesloss.inference import decide, seeds_to_decide
from pesloss.job.errors import PeslossError

SWAP = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
numbers = st.floats(-10, 10)


@pytest.mark.parametrize(
    ("low", "high", "relation", "answer"),
    [
        (0.48, 0.53, "equals", "supported"),
        (0.48, 0.57, "equals", "undecided"),
        (0.56, 0.59, "equals", "contradicted"),
        (0.3, 0.8, "equals", "undecided"),
        (0.56, 0.59, "differs", "supported"),
        (0.48, 0.53, "differs", "contradicted"),
        (0.56, 0.59, "greater", "supported"),
        (0.48, 0.54, "greater", "contradicted"),
        (0.48, 0.56, "greater", "undecided"),
        (0.41, 0.44, "less", "supported"),
        (0.46, 0.49, "less", "contradicted"),
        (0.41, 0.49, "less", "undecided"),
    ],
)
def test_answers(low: float, high: float, relation: str, answer: str) -> None:
    verdict = decide((low + high) / 2, low, high, 0.5, 0.05, relation)  # type: ignore[arg-type]
    assert str(verdict) == verdict.answer == answer


@given(numbers, st.floats(0, 5), numbers, st.floats(0, 3))
def test_mirrors(low: float, width: float, expected: float, margin: float) -> None:
    high = low + width
    same = decide(low, low, high, expected, margin, "equals").answer
    assert decide(low, low, high, expected, margin, "differs").answer == SWAP[same]
    up = decide(low, low, high, expected, margin, "greater").answer
    assert decide(-low, -high, -low, -expected, margin, "less").answer == up


@given(numbers, st.floats(0.01, 5), numbers, st.floats(0.01, 3), st.integers(1, 10))
def test_the_promised_seeds_decide(
    estimate: float, half: float, expected: float, margin: float, n: int
) -> None:
    for relation in ("equals", "differs", "greater", "less"):
        needed = seeds_to_decide(
            estimate, estimate - half, estimate + half, expected, margin, relation, n
        )  # type: ignore[call-overload, unused-ignore]
        if needed is None:
            continue
        rest = half * math.sqrt(n / needed) * (1 - 1e-9)
        verdict = decide(estimate, estimate - rest, estimate + rest, expected, margin, relation)  # type: ignore[arg-type, unused-ignore]
        assert verdict.answer != "undecided"


def test_estimate_at_the_margin_never_decides() -> None:
    assert seeds_to_decide(0.55, 0.5, 0.6, 0.5, 0.05, "equals", 3) is None
    assert seeds_to_decide(0.5, -math.inf, math.inf, 0.5, 0.05, "equals", 3) is None
    assert seeds_to_decide(0.5, 0.49, 0.51, 0.5, 0.05, "equals", 3) == 3


def test_false_support_at_the_edge_is_rare() -> None:
    rng = np.random.default_rng(0)
    estimates = 0.55 + 0.01 * rng.normal(size=4000)
    wrong = [
        decide(e, e - 0.0196, e + 0.0196, 0.5, 0.05, "equals").answer == "supported"
        for e in estimates
    ]
    assert np.mean(wrong) < 0.05


def test_nan_is_undecided_and_mistakes_are_refused() -> None:
    assert decide(0, math.nan, math.nan, 0, 1, "equals").answer == "undecided"
    with pytest.raises(PeslossError, match="relation"):
        decide(0, 0, 0, 0, 1, "above")  # type: ignore[arg-type]
    with pytest.raises(PeslossError, match="margin"):
        decide(0, 0, 0, 0, -1, "equals")
    with pytest.raises(PeslossError, match="interval"):
        decide(0, 1, 0, 0, 1, "equals")
    with pytest.raises(PeslossError, match="n_seeds"):
        seeds_to_decide(0, 0, 0, 0, 1, "equals", 0)
