"""Verdicts: a claim is supported, contradicted or undecided, never assumed (science.md §5)."""

import math
from typing import Literal, NamedTuple, get_args

from pesloss.job.errors import wrong_value

Relation = Literal["equals", "differs", "greater", "less"]
Answer = Literal["supported", "contradicted", "undecided"]

_MIRROR: dict[Answer, Answer] = {
    "supported": "contradicted",
    "contradicted": "supported",
    "undecided": "undecided",
}


class Verdict(NamedTuple):
    """What an interval says about a claim."""

    answer: Answer
    estimate: float
    low: float
    high: float
    expected: float
    margin: float
    relation: Relation

    def __str__(self) -> str:
        return self.answer


def decide(
    estimate: float,
    low: float,
    high: float,
    expected: float,
    margin: float,
    relation: Relation = "equals",
) -> Verdict:
    """Compare an interval with the expected value and its margin.

    - equals: supported when [low, high] lies inside expected ± margin, contradicted when it lies
      entirely outside;
    - differs: the mirror image of equals;
    - greater: supported when low > expected + margin, contradicted when high < expected + margin;
    - less: supported when high < expected − margin, contradicted when low > expected − margin.

    Equivalence needs the whole interval inside the margin, so a wide interval never supports
    it. With 95 % two-sided intervals a true value at the edge of the margin is called supported
    in 2.5 % of the cases.

    Parameters
    ----------
    estimate, low, high
        The statistic and its interval, as from `pesloss.inference.interval`. An interval with
        NaN is undecided.
    expected, margin
        The claim; margin is not negative.
    relation
        One of equals, differs, greater, less.

    Raises
    ------
    PeslossError
        When the relation is unknown, the margin negative or the interval reversed.
    """
    _check(low, high, margin, relation)
    if math.isnan(low) or math.isnan(high):
        answer: Answer = "undecided"
    elif relation in ("equals", "differs"):
        answer = _inside(low, high, expected - margin, expected + margin)
        answer = _MIRROR[answer] if relation == "differs" else answer
    elif relation == "greater":
        answer = _beyond(low, high, expected + margin)
    else:
        answer = _beyond(-high, -low, margin - expected)
    return Verdict(answer, estimate, low, high, expected, margin, relation)


def _check(low: float, high: float, margin: float, relation: str) -> None:
    if relation not in get_args(Relation):
        raise wrong_value("decide", "relation", relation, get_args(Relation))
    if not margin >= 0:
        raise wrong_value("decide", "margin", margin, "a number that is not negative")
    if low > high:
        raise wrong_value("decide", "interval", (low, high), "low that is not above high")


def _inside(low: float, high: float, lower: float, upper: float) -> Answer:
    if lower <= low and high <= upper:
        return "supported"
    return "contradicted" if high < lower or low > upper else "undecided"


def _beyond(low: float, high: float, edge: float) -> Answer:
    if low > edge:
        return "supported"
    return "contradicted" if high < edge else "undecided"


def seeds_to_decide(
    estimate: float,
    low: float,
    high: float,
    expected: float,
    margin: float,
    relation: Relation,
    n_seeds: int,
    limit: int = 10_000,
) -> int | None:
    """Number of seeds at which the same estimate would be decided.

    The half-width is taken to shrink as ``1/√n`` and the estimate to stay where it is, so the
    answer is a plan, not a promise: what comes from the finite set of test structures does not
    shrink with seeds.

    Parameters
    ----------
    estimate, low, high, expected, margin, relation
        As in `decide`.
    n_seeds
        Seeds behind the interval, at least one.
    limit
        More seeds than this count as never.

    Returns
    -------
    int or None
        ``n_seeds`` when decided already; None when the estimate sits at the margin (or the
        interval is not finite), so that no number of seeds up to ``limit`` decides.

    Raises
    ------
    PeslossError
        As `decide`, and when ``n_seeds`` is below one.
    """
    if n_seeds < 1:
        raise wrong_value("seeds_to_decide", "n_seeds", n_seeds, "at least 1")
    if decide(estimate, low, high, expected, margin, relation).answer != "undecided":
        return n_seeds
    gap = distance_to_edge(estimate, expected, margin, relation)
    half_width = max(high - estimate, estimate - low)
    if not math.isfinite(half_width) or not gap > 0:
        return None
    needed = n_seeds * (half_width / gap) ** 2
    if not needed < limit:
        return None
    return max(math.floor(needed) + 1, n_seeds + 1)


def distance_to_edge(estimate: float, expected: float, margin: float, relation: Relation) -> float:
    """Return how far the estimate is from the nearest edge that separates the verdicts.

    An interval decides (`decide`) when its half-width is below this distance.
    """
    offset = estimate - expected
    if relation == "greater":
        return abs(offset - margin)
    if relation == "less":
        return abs(offset + margin)
    return abs(abs(offset) - margin)
