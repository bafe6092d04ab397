"""The exponent against statsmodels, planted truths, and the calibration of its interval."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pesloss.inference import (
    exponent_of,
    fit_exponent,
    line_exponent_of,
    resample_weights,
    slope,
    two_level_interval,
)
from pesloss.job.errors import PeslossError

Array = NDArray[np.float64]
Sizes = NDArray[np.int64]


def draw(n: int, seed: int, alpha: float = 0.5) -> tuple[NDArray[np.int64], Array]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 101, n)
    return sizes, sizes ** (2.0 * alpha) * rng.normal(size=n) ** 2


def statsmodels_exponent(sizes: NDArray[np.int64], errors: Array, weights: Array) -> float:
    family = sm.families.Gamma(sm.families.links.Log())
    design = sm.add_constant(np.log(sizes))
    model = sm.GLM(errors, design, family=family, freq_weights=weights)
    return float(model.fit(tol=1e-13, maxiter=500).params[1] / 2)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_statsmodels(seed: int) -> None:
    sizes, errors = draw(200, seed, 0.2 * seed)
    weights = resample_weights(np.arange(200), 3, np.random.default_rng(seed))
    ours = exponent_of(sizes, errors, weights)
    theirs = [statsmodels_exponent(sizes, errors, row) for row in weights]
    assert np.allclose(ours, theirs, atol=1e-8)


@settings(max_examples=30)
@given(alpha=st.floats(-2, 3), factor=st.floats(1e-6, 1e6), seed=st.integers(0, 100))
def test_laws(alpha: float, factor: float, seed: int) -> None:
    sizes, errors = draw(100, seed)
    plain = fit_exponent(sizes, errors)
    assert fit_exponent(sizes, factor * errors) == pytest.approx(plain, abs=1e-9)
    assert fit_exponent(3 * sizes, errors) == pytest.approx(plain, abs=1e-9)
    steeper = fit_exponent(sizes, errors * sizes ** (2 * alpha))
    assert steeper == pytest.approx(plain + alpha, abs=1e-8)
    twice = np.full(100, 2.0)
    assert fit_exponent(sizes, errors, twice) == pytest.approx(plain, abs=1e-9)


def test_exact_power_and_zeros() -> None:
    sizes = np.array([2.0, 5, 11, 40])
    assert fit_exponent(sizes, 3 * sizes**1.4) == pytest.approx(0.7)
    assert line_exponent_of(sizes, 3 * sizes**1.4, np.ones(4)) == pytest.approx(0.7)
    assert slope(sizes, 3 * sizes**1.4) == pytest.approx(1.4)
    doubled = np.repeat(sizes, 2)
    halved = np.where(np.arange(8) % 2, 0, doubled**1.0)
    assert fit_exponent(doubled, halved) == pytest.approx(0.5)
    assert line_exponent_of(doubled, halved, np.ones(8)) == pytest.approx(0.5)


def test_without_an_answer() -> None:
    with pytest.raises(PeslossError, match="no slope"):
        fit_exponent([5, 5], [1, 2])
    with pytest.raises(PeslossError, match="no slope"):
        fit_exponent([5, 6], [0, 0])
    with pytest.raises(PeslossError, match="no slope"):
        fit_exponent([5, 6], [0, 1])
    with pytest.raises(PeslossError, match="no slope"):
        line_exponent_of([5, 6], [0, 1], [1, 1])
    with pytest.raises(PeslossError, match="n_atoms"):
        fit_exponent([0, 6], [1, 1])
    with pytest.raises(PeslossError, match="squared_error"):
        fit_exponent([5, 6], [1, -1])
    with pytest.raises(PeslossError, match="shapes"):
        fit_exponent([5, 6], [1])
    with pytest.raises(PeslossError, match="one row"):
        fit_exponent([5, 6], [1, 2], [[1, 1]])
    assert np.isnan(exponent_of([5, 6], [1, 1], [[1, 0]])[0])


def test_slope_of_many_weights() -> None:
    sizes, errors = draw(50, 1)
    weights = resample_weights(np.arange(50), 4, np.random.default_rng(0))
    assert np.allclose(slope(sizes, errors, weights), 2 * exponent_of(sizes, errors, weights))


@pytest.mark.parametrize("tail", [np.inf, 5.0])
def test_interval_is_calibrated(tail: float) -> None:
    rng = np.random.default_rng(2)
    hits, count = 0, 400
    for _ in range(count):
        sizes = rng.integers(2, 101, 300)
        error = stats.t(tail).rvs(300, random_state=rng) if tail < np.inf else rng.normal(size=300)
        squares = sizes * error**2

        def statistic(weights: Array, n: Sizes = sizes, y: Array = squares) -> Array:
            return exponent_of(n, y, weights[:, 0])

        _, low, high = two_level_interval(statistic, np.arange(300), 1, rng, 200)
        hits += low < 0.5 < high
    assert 0.93 <= hits / count <= 0.97
