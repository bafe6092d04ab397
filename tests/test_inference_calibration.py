"""The table of calibration: its simulated errors, its laws, and a small version of it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, kurtosis

from pesloss.benchmarks import intervals as calibration
from pesloss.benchmarks.intervals import (
    HEAVY,
    LARGEST_FALSE,
    Design,
    calibrate,
    designs,
    family_scale,
    rate,
    simulate,
    summary,
)
from pesloss.inference import exponent_of, fit_exponent, two_level_interval
from pesloss.job.files import read_table

SMALL = [
    Design("error_exponent", 72, 36, 3, 0.05, "normal"),
    Design("paired_difference", 60, 30, 3, 0.05, "student t5"),
]
CHANCE = 1e-4  # of a test that fails although the band holds


def bounds(n: int, low: float, high: float) -> tuple[float, float]:
    """Counts out of n that a rate between ``low`` and ``high`` gives, but for a small chance."""
    return float(binom.ppf(CHANCE, n, low)), float(binom.ppf(1 - CHANCE, n, high))


@pytest.mark.parametrize("design", SMALL, ids=lambda design: design.statistic)
def test_a_small_version_covers_and_seldom_supports_what_is_false(design: Design) -> None:
    n = 400
    intervals = simulate(design, np.random.default_rng(3), n, 60)
    low, high = bounds(n, *calibration.BAND)
    row = summary(design, intervals, 60)
    assert low <= n * float(str(row["coverage"])) <= high < n
    for name in ("false_equals", "false_one_sided"):
        assert n * float(str(row[name])) <= bounds(n, 0, LARGEST_FALSE)[1]
    narrow = intervals.copy()
    narrow[:, 1:] = intervals[:, :1] + 0.6 * (intervals[:, 1:] - intervals[:, :1])
    assert n * float(str(summary(design, narrow, 60)["coverage"])) < low


def test_a_row_says_what_the_intervals_say() -> None:
    """Two intervals of half-width 0.05: one about the truth, one that misses it."""
    intervals = np.array([[0.0, -0.05, 0.05], [0.08, 0.03, 0.13]])
    row = summary(SMALL[0], intervals, 7)
    assert (row["n_replicates"], row["n_resamples"], row["margin"]) == (2, 7, 0.1)
    assert (row["coverage"], row["median_half_width"]) == (0.5, pytest.approx(0.05))
    assert (row["false_equals"], row["false_one_sided"]) == (0.5, 0.5)
    assert (row["power_support"], row["power_contradict_3_margins"]) == (0.5, 1.0)
    assert row["holds"] is False
    assert rate(intervals, 0.15, 0.1, "equals", "undecided") == 0.5


def test_an_interval_moves_with_the_truth() -> None:
    """What lets the same intervals serve for every true value."""
    for design, factor, shift in (
        (SMALL[0], SMALL[0].sizes ** 0.7, 0.7),
        (SMALL[1], np.array([3.0, 1.0])[:, None, None], np.log(3)),
    ):
        errors = design.draw(np.random.default_rng(1))
        found = [
            two_level_interval(
                design.value(e), np.arange(design.n_families), 3, np.random.default_rng(2), 50
            )
            for e in (errors, factor * errors)
        ]
        assert np.array(found[1]) - np.array(found[0]) == pytest.approx(shift, abs=1e-9)


@pytest.mark.parametrize("design", [*SMALL, Design("error_exponent", 72, 36, 2, 0.2, "normal")])
def test_the_stated_truth_is_that_of_many_seeds_and_structures(design: Design) -> None:
    rng, many = np.random.default_rng(4), 400
    large = Design(design.statistic, 2400, 1200, many, design.seed_std, design.tails)
    errors = large.draw(rng)
    parts = [
        float(large.value(errors[:, part])(np.ones((1, many // 8, 1200)))[0])
        if design.statistic == "paired_difference"
        else fit_exponent(large.sizes, (errors[0, part] ** 2).mean(0))
        for part in np.split(np.arange(many), 8)
    ]
    spread = np.std(parts, ddof=1) / np.sqrt(8)
    assert abs(np.mean(parts) - large.truth) < max(5 * spread, 0.03)


def test_means_over_families_are_as_good_as_their_structures() -> None:
    for design in SMALL:
        errors = design.draw(np.random.default_rng(8))
        weights = np.random.default_rng(9).integers(1, 4, (5, 3, design.n_families)).astype(float)
        found = design.value(errors)(weights)
        alone = Design(**{**asdict(design), "n_families": design.n_structures})
        spread = np.repeat(weights, design.n_structures // design.n_families, axis=2)
        if design.statistic == "error_exponent":
            tiled, flat = np.tile(design.sizes, 3), (errors**2).ravel()
            twin = exponent_of(tiled, flat, spread.reshape(5, -1))
        else:
            twin = alone.value(errors)(spread)
        assert found == pytest.approx(twin, abs=1e-9)


@pytest.mark.parametrize(
    ("tails", "excess"), [("normal", 0), ("heavy", 3 * np.exp(4 * HEAVY**2) - 3)]
)
def test_tails_are_those_that_are_named(tails: calibration.Tails, excess: float) -> None:
    rng = np.random.default_rng(5)
    errors = family_scale(tails, 400_000, rng) * rng.standard_normal(400_000)
    assert np.mean(errors**2) == pytest.approx(1, abs=0.05)
    assert kurtosis(errors) == pytest.approx(excess, rel=0.3, abs=0.05)


def test_student_tails_have_unit_variance() -> None:
    rng = np.random.default_rng(6)
    errors = family_scale("student t5", 400_000, rng) * rng.standard_normal(400_000)
    assert np.mean(errors**2) == pytest.approx(1, abs=0.05)
    assert np.quantile(np.abs(errors), 0.95) == pytest.approx(2.571 * np.sqrt(3 / 5), rel=0.02)


def test_losses_share_families_and_structures_and_nothing_else() -> None:
    design = Design("paired_difference", 4000, 2000, 2, 0.0, "normal")
    scaled = design.draw(np.random.default_rng(7)) / np.sqrt(design.sizes)
    rows = scaled.reshape(4, -1)
    apart = np.corrcoef(rows)[np.triu_indices(4, 1)]
    assert apart == pytest.approx(0.85, abs=0.02)
    assert np.corrcoef(rows[0, ::2], rows[0, 1::2])[0, 1] == pytest.approx(0.5, abs=0.06)


def test_designs_are_the_default_study_and_smaller_ones() -> None:
    found = designs()
    assert len(set(found)) == len(found)
    assert {d.n_seeds for d in found} == {1, 2, 3, 5}
    assert all(np.bincount(d.families).min() == np.bincount(d.families).max() for d in found)


def test_the_command_writes_the_table_and_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "designs", lambda: SMALL)
    monkeypatch.setattr(
        calibration, "calibrate", lambda chosen: calibrate(chosen, 0, n_replicates=5, n_resamples=9)
    )
    for name in "ab":
        assert calibration.main([str(tmp_path / name)]) == 0
    one, other = (read_table(tmp_path / n / "inference_calibration.csv") for n in "ab")
    pd.testing.assert_frame_equal(one, other)
    assert list(one.statistic) == ["error_exponent", "paired_difference"]
    assert list(one.n_replicates) == [5, 5]
