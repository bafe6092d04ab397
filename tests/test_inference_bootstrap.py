"""Resampling weights, intervals over structures and seeds, corrections."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pesloss.inference import adjust, effective_dof, interval, resample_weights, two_level_interval
from pesloss.job.errors import PeslossError

Array = NDArray[np.float64]


def test_weights_draw_whole_families() -> None:
    groups = np.array(["a", "b", "b", "c", "a"])
    weights = resample_weights(groups, 500, np.random.default_rng(0))
    assert weights.shape == (500, 5)
    assert np.array_equal(weights[:, 0], weights[:, 4])
    assert np.array_equal(weights[:, 1], weights[:, 2])
    assert np.all(weights[:, [0, 1, 3]].sum(1) == 3)
    assert np.allclose(weights.mean(0), 1, atol=0.2)
    again = resample_weights(groups, 500, np.random.default_rng(0))
    assert np.array_equal(weights, again)


def test_no_structure_is_refused() -> None:
    with pytest.raises(PeslossError, match="families"):
        resample_weights([], 5, np.random.default_rng(0))


def test_interval_of_replicates() -> None:
    replicates = np.random.default_rng(3).normal(5, 2, 100_000)
    low, high = interval(5, replicates)
    assert low == pytest.approx(5 - 1.96 * 2, abs=0.05)
    assert high == pytest.approx(5 + 1.96 * 2, abs=0.05)
    assert interval(5, replicates, dof=2)[1] > high + 4
    with pytest.raises(PeslossError, match="have no answer"):
        interval(5, [np.nan, 1, 2])


def test_effective_degrees_of_freedom() -> None:
    assert effective_dof(np.ones(50)) == 100
    assert effective_dof([1, 0, 0, 0]) == 2
    assert effective_dof([0, 0]) == np.inf


def test_one_seed_covers_structures_of_this_model_only() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=400)

    def mean(weights: Array) -> Array:
        return np.asarray((weights * values).sum((1, 2)) / weights.sum((1, 2)))

    estimate, low, high = two_level_interval(mean, np.arange(400), 1, rng)
    assert estimate == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    with pytest.raises(PeslossError, match="at least 2"):
        two_level_interval(mean, np.zeros(400), 1, rng)


@pytest.mark.parametrize("spreads", [(0.1, 0.3, 0.3), (0.0, 0.5, 0.5), (0.05, 0.5, 1.0)])
def test_paired_difference_with_three_seeds_is_calibrated(
    spreads: tuple[float, float, float],
) -> None:
    """Spreads of seeds, structures and their interaction; the seeds dominate first."""
    rng = np.random.default_rng(5)
    seeds, structures, both = spreads
    hits, n, shape = 0, 500, (3, 150)
    for _ in range(n):
        common = np.exp(rng.normal(size=150))
        baseline = common * np.exp(both * rng.normal(size=shape))
        own = structures * rng.normal(size=150) - structures**2 / 2
        drift = seeds * rng.normal(size=(3, 1)) + both * rng.normal(size=shape)
        errors = common * np.exp(0.1 + own + drift)

        def ratio(weights: Array, errors: Array = errors, baseline: Array = baseline) -> Array:
            sums = (weights * errors).sum((1, 2)), (weights * baseline).sum((1, 2))
            return np.asarray(np.log(sums[0] / sums[1]))

        _, low, high = two_level_interval(ratio, np.arange(150), 3, rng, 150)
        hits += low < 0.1 < high
    assert 0.93 <= hits / n <= 0.97


def test_holm() -> None:
    assert np.allclose(adjust([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert adjust([]).size == 0
    with pytest.raises(PeslossError, match="p_values"):
        adjust([0.5, np.nan])
