"""Differences between losses that were planted, and none where there is none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Tiny
from numpy.typing import NDArray
from test_claims import Shelf, measure, near, noise

from pesloss.claims.measurement import NotMeasurable
from pesloss.evaluation.score import score
from pesloss.inference import mean_over_seeds, seed_means
from pesloss.spec.run import Run

Array = NDArray[np.float64]


@pytest.fixture
def shelf(tmp_path: Path, tiny: Tiny) -> Shelf:
    return Shelf(tmp_path, tiny.statistics, 600)


@pytest.mark.parametrize("weights", ["best", "all"])
@pytest.mark.parametrize("of", ["energy", "energy_per_atom", "forces", "score"])
def test_identical_losses_do_not_differ(shelf: Shelf, of: str, weights: str) -> None:
    data = shelf.grid(noise, ("control_same", "raw"), weights=(0.1, 1.0))
    (found,) = measure("paired_difference", data, of=of, weights=weights, against="raw")
    assert (found.estimate, found.low, found.high) == (0, 0, 0)
    assert (found.loss, found.group, found.n_seeds) == ("control_same", "against raw", 3)
    assert found.force_weight == (0.1 if weights == "best" else None)


@pytest.mark.parametrize("of", ["energy", "energy_per_atom"])
def test_twice_the_errors_are_a_difference_of_log_two(shelf: Shelf, of: str) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        return (2.0 if run.energy_loss == "raw" else 1.0) * noise(run, table)

    data = shelf.grid(errors, ("raw", "sqrt_n", "standardized"))
    found = {item.loss: item for item in measure("paired_difference", data, of=of)}
    assert found["raw"].estimate == pytest.approx(np.log(2))
    assert found["raw"].low == pytest.approx(found["raw"].high)
    assert found["sqrt_n"].estimate == pytest.approx(0)


def test_what_losses_share_cancels_and_what_they_do_not_is_in_the_interval(shelf: Shelf) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        name = len(run.energy_loss)
        own = np.random.default_rng([run.seed, name]).normal(size=len(table))
        return np.exp(0.3 * own) * noise(run, table) * (1.5 if run.energy_loss == "raw" else 1.0)

    (found,) = measure("paired_difference", shelf.grid(errors, ("raw", "standardized")))
    assert near(found, np.log(1.5))
    assert found.low < found.high


def test_each_loss_stands_at_its_own_best_weight_or_at_all(shelf: Shelf) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        best = {"raw": 10.0, "standardized": 0.1}[run.energy_loss]
        worse = 1.0 if run.force_weight == best else 4.0
        return worse * (3.0 if run.energy_loss == "raw" else 1.0) * noise(run, table)

    data = shelf.grid(errors, ("raw", "standardized"), weights=(0.1, 1.0, 10.0))
    (best,) = measure("paired_difference", data)
    assert best.estimate == pytest.approx(np.log(3))
    assert best.force_weight == 10.0
    (everywhere,) = measure("paired_difference", data, weights="all")
    assert everywhere.estimate == pytest.approx(np.log(3))


def test_a_difference_is_antisymmetric_and_does_not_know_the_unit(shelf: Shelf) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        own = np.random.default_rng([run.seed, len(run.energy_loss)]).normal(size=len(table))
        return 23.06 * own

    data = shelf.grid(errors, ("raw", "standardized"))
    (one,) = measure("paired_difference", data, of="score")
    (other,) = measure("paired_difference", data, of="score", against="raw")
    assert (one.loss, other.loss) == ("raw", "standardized")
    assert one.estimate == pytest.approx(-other.estimate)
    by_hand = [
        np.mean([score(result.split("test")) for result in data.of(loss, 1.0)])
        for loss in ("raw", "standardized")
    ]
    assert one.estimate == pytest.approx(by_hand[0] - by_hand[1])


def test_a_difference_needs_the_loss_it_is_compared_with(shelf: Shelf) -> None:
    with pytest.raises(NotMeasurable, match="made: no run of loss standardized"):
        measure("paired_difference", shelf.grid(noise, ("raw",)))


def test_means_of_seeds_are_those_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.random((2, 5)), rng.integers(1, 4, (3, 2, 5)).astype(float)
    found = seed_means(values, weights)
    for b in range(3):
        rows = [np.repeat(values[s], weights[b, s].astype(int)) for s in range(2)]
        assert found[b] == pytest.approx([row.mean() for row in rows])
        pooled = np.concatenate(rows).mean()
        assert mean_over_seeds(found, weights)[b] == pytest.approx(pooled)
