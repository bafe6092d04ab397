"""p values follow from the interval, and a claim's verdicts hold for all its measurements."""

import gc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm
from scipy.stats import t as student

from pesloss.claims.collect import FAMILY_LEVEL, collect_claims, corrected
from pesloss.claims.decide import p_value
from pesloss.claims.measurement import Measurement
from pesloss.inference import Estimate, decide
from pesloss.job.files import write_table
from pesloss.spec.config import Claim, Relation

RELATIONS: tuple[Relation, ...] = ("equals", "differs", "greater", "less")


def claim(relation: Relation = "equals", level: float = 0.95, margin: float = 0.3) -> Claim:
    return Claim(
        claim="C7",
        statistic="error_exponent",
        relation=relation,
        expected=0.5,
        margin=margin,
        level=level,
    )


def measured(estimate: Estimate, level: float = 0.95) -> Measurement:
    half = estimate.half_width(level)
    low, high = estimate.value - half, estimate.value + half
    return Measurement(estimate.value, low, high, 10, 3, uncertainty=estimate)


@given(
    st.floats(-1, 2),
    st.floats(1e-4, 0.1),
    st.floats(2, 200),
    st.floats(0, 0.1),
    st.integers(1, 5),
    st.sampled_from(RELATIONS),
    st.sampled_from([0.9, 0.95, 0.99]),
)
def test_a_p_value_below_one_less_the_level_is_a_decision(
    value: float,
    family: float,
    dof: float,
    seeds: float,
    seed_dof: int,
    relation: Relation,
    level: float,
) -> None:
    found = measured(Estimate(value, family, dof, seeds, seed_dof), level)
    p = p_value(claim(relation, level), found)
    assert 0 <= p <= 1
    if abs(p - (1 - level)) > 1e-9:
        answer = decide(found.estimate, found.low, found.high, 0.5, 0.3, relation).answer
        assert (answer != "undecided") == (p < 1 - level)


def test_p_values_are_those_of_the_laws_they_come_from() -> None:
    assert Estimate(0, 4).p_value(3) == pytest.approx(2 * norm.sf(1.5))
    assert Estimate(0, 4, 5).p_value(3) == pytest.approx(2 * student.sf(1.5, 5))
    assert Estimate(0, 0, 5, 4, 2).p_value(3) == pytest.approx(2 * student.sf(1.5, 2))
    assert Estimate(0, 0).p_value(1e-12) == 0
    assert Estimate(0, 4).p_value(0) == 1
    assert Estimate(0, 1).p_value(7.9) == pytest.approx(2 * norm.sf(7.9), rel=1e-6)


def test_an_interval_alone_is_taken_as_normal() -> None:
    for level in (0.9, 0.95):
        exact = measured(Estimate(1.1, 0.01), level)
        bare = Measurement(exact.estimate, exact.low, exact.high, 10, 1)
        wanted = p_value(claim(level=level), exact)
        assert p_value(claim(level=level), bare) == pytest.approx(wanted)
    assert p_value(claim(), Measurement(1.0, np.nan, np.nan, 10, 1)) == 1


def claims_of(p_values: list[float], **columns: object) -> pd.DataFrame:
    table = {"claim": "C1", "verdict": "contradicted", "must_be": np.nan, "p_value": p_values}
    return pd.DataFrame({**table, **columns})


def test_a_claim_is_corrected_for_its_own_measurements() -> None:
    table = claims_of([0.01, 0.04, 0.03, 0.04], claim=["C1", "C1", "C1", "C2"])
    answers = ["contradicted", "undecided", "undecided", "contradicted"]
    assert list(corrected(table).verdict_corrected) == answers
    undecided = claims_of([1e-9, 0.4], verdict=["supported", "undecided"])
    assert list(corrected(undecided).verdict_corrected) == ["supported", "undecided"]


def test_controls_are_no_part_of_the_family() -> None:
    """Forty controls more: one measurement is still one."""
    must = [np.nan, *["contradicted"] * 40]
    table = claims_of([0.04, *[0.04] * 40], must_be=must)
    assert set(corrected(table).verdict_corrected) == {"contradicted"}
    assert corrected(table.assign(must_be=np.nan)).verdict_corrected.eq("undecided").all()


def test_order_does_not_matter() -> None:
    table = claims_of(list(np.random.default_rng(0).uniform(0, 0.02, 9)))
    answers = corrected(table).verdict_corrected
    shuffled = table.sample(frac=1, random_state=1)
    assert corrected(shuffled).verdict_corrected.sort_index().equals(answers)


def test_no_false_verdict_in_nineteen_sets_of_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """True values at the edge of the margin, where every verdict is a false one."""
    monkeypatch.setattr(gc, "collect", lambda: 0)  # statsmodels collects at every correction
    rng, n_sets, n = np.random.default_rng(1), 1000, 8
    relations: tuple[Relation, ...] = ("equals", "greater", "less")
    edges = {"equals": 0.8, "greater": 0.8, "less": 0.2}
    chosen = [relations[i % 3] for i in range(n)]
    rows = []
    for number in range(n_sets):
        for relation in chosen:
            found = measured(Estimate(edges[relation] + 0.05 * rng.standard_normal(), 0.05**2))
            answer = decide(found.estimate, found.low, found.high, 0.5, 0.3, relation).answer
            p = p_value(claim(relation), found)
            rows.append((number, answer, p))
    table = pd.DataFrame(rows, columns=["claim", "verdict", "p_value"]).assign(must_be=np.nan)
    answers = corrected(table)[["verdict", "verdict_corrected"]] != "undecided"
    wrong = answers.groupby(table.claim).any()
    assert wrong.verdict_corrected.sum() <= binom.ppf(1 - 1e-4, n_sets, FAMILY_LEVEL)
    assert wrong.verdict.sum() > 3 * FAMILY_LEVEL * n_sets


def test_collected_claims_are_corrected_over_all_ablations(tmp_path: Path) -> None:
    for name, p in (("a", 0.04), ("b", 0.9)):
        write_table(tmp_path / name, claims_of([p]))
    found = collect_claims([tmp_path / "a", tmp_path / "b"])
    assert list(found.verdict_corrected) == ["undecided", "undecided"]
    assert list(collect_claims([tmp_path / "a"]).verdict_corrected) == ["contradicted"]
