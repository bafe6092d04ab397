"""Gradients, bias and spread of trained models on planted truths."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Tiny, add_table, failure
from numpy.typing import NDArray
from test_claims import Shelf, measure, near, noise

from pesloss.claims.measurement import NotMeasurable
from pesloss.claims.measures._bias import Parts
from pesloss.claims.runs import Comparison
from pesloss.spec.run import Run

Array = NDArray[np.float64]


@pytest.fixture
def shelf(tmp_path: Path, tiny: Tiny) -> Shelf:
    return Shelf(tmp_path, tiny.statistics, n=1200)


def trained(
    shelf: Shelf, losses: dict[str, float], alpha: float, beta: float, twist: float = 0.0
) -> Comparison:
    """Runs with errors of exponent α, gradients of energies of exponent β, and s² ∝ N^p.

    ``twist``: how much more the gradients of an energy grow where its error is large.
    """
    data = shelf.grid(noise, tuple(losses))
    part = shelf.labels[shelf.labels.split == "train"].reset_index(drop=True)
    n = part.n_atoms.to_numpy(float)
    for result in data.results:
        rng = np.random.default_rng([result.run.seed, 9])
        error = n**alpha * rng.normal(size=len(n))
        jacobian = n**beta * rng.gamma(9, size=len(n)) * (np.abs(error) / n**alpha) ** twist
        scale = n ** losses[result.run.energy_loss]
        term = pd.DataFrame(
            {"step": 9, "structure": part.structure, "energy_term": error**2 / scale}
        )
        add_table(result, "loss_signal.csv.gz", term)
        late = pd.DataFrame(
            {
                "step": 9,
                "structure": part.structure,
                "energy_gradient": 2 * np.abs(error) / scale * jacobian,
                "energy_jacobian": jacobian,
            }
        )
        early = late.assign(step=0, energy_jacobian=n * rng.gamma(9, size=len(n)))
        add_table(result, "gradient_signal.csv", pd.concat([early, late]))
    return data


@pytest.mark.parametrize("beta", [0.5, 0.8, 1.0])
def test_the_exponent_of_energy_gradients_is_found(shelf: Shelf, beta: float) -> None:
    data = trained(shelf, {"raw": 0.0, "per_atom": 2.0}, 0.5, beta)
    found = measure("jacobian_exponent", data, at="end")
    assert [item.loss for item in found] == ["per_atom", "raw"]
    assert all(near(item, beta) for item in found)
    (start,) = measure("jacobian_exponent", data, at="start")
    assert near(start, 1.0)
    assert start.loss == ""


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.9, 0.7)])
def test_the_law_of_gradients_holds_where_errors_and_gradients_are_independent(
    shelf: Shelf, alpha: float, beta: float
) -> None:
    losses = {"raw": 0.0, "sqrt_n": 1.0, "per_atom": 2.0, "standardized": 1.0}
    data = trained(shelf, losses, alpha, beta)
    found = measure("gradient_law", data)
    assert len(found) == len(losses)
    assert all(near(item, 0.0) for item in found)


def test_the_law_of_gradients_is_refuted_where_the_gradient_is_another(shelf: Shelf) -> None:
    data = trained(shelf, {"raw": 0.0}, 0.5, 0.5)
    size = shelf.labels.set_index("structure").n_atoms
    for result in data.results:
        table = result.gradient_signal
        grown = table.energy_gradient * table.structure.map(size) ** 0.4
        add_table(result, "gradient_signal.csv", table.assign(energy_gradient=grown))
    (found,) = measure("gradient_law", data)
    assert near(found, 0.4)
    assert found.low > 0.1


def test_losses_and_metrics_without_a_law_are_named(shelf: Shelf) -> None:
    data = trained(shelf, {"raw": 0.0, "correlated": 1.0}, 0.5, 0.5)
    found = measure("gradient_law", data)
    assert [str(item) for item in found if isinstance(item, NotMeasurable)] == [
        "correlated: s² is no power of N"
    ]
    for result in list(data.results):
        mae = Run("made", "schnet", result.run.energy_loss, metric="mae", seed=result.run.seed)
        shelf.add(mae, noise)
    other = next(found for found in shelf.compared() if found.metric == "mae")
    assert "not mae" in failure(lambda: measure("gradient_law", other))


Errors = Callable[[Run, pd.DataFrame], Array]


def with_bias(bias: float, spread: float = 1.0) -> Errors:
    """ΔE = b N + σ √N ξ, b of either sign by phase."""

    def errors(run: Run, table: pd.DataFrame) -> Array:
        n = table.n_atoms.to_numpy(float)
        own = np.random.default_rng([run.seed, 5]).normal(size=len(n))
        sign = np.where(table.phase == "liquid", 1.0, -1.0)
        found: Array = bias * sign * n + spread * np.sqrt(n) * own
        return found

    return errors


def test_bias_and_spread_are_told_apart(shelf: Shelf) -> None:
    data = shelf.grid(with_bias(0.3), ("raw",))
    (spread,) = measure("error_part_exponent", data, by="phase")
    (bias,) = measure("error_part_exponent", data, by="phase", part="bias")
    assert near(spread, 0.5)
    assert near(bias, 1.0)
    size = data.tested().groupby("size_group").n_atoms
    shares = size.agg(lambda n: np.mean(0.09 * n**2) / np.mean(0.09 * n**2 + n))
    for found in measure("error_bias_share", data, by="phase"):
        assert near(found, shares[found.group])


def test_what_is_no_bias_has_no_share(shelf: Shelf) -> None:
    for by, errors in (("phase", with_bias(0.0)), ("", with_bias(0.0))):
        shelf.results.clear()
        data = shelf.grid(errors, ("raw",))
        for found in measure("error_bias_share", data, by=by):
            assert abs(found.estimate) < 0.1
            assert found.low < 0.05
    (spread,) = measure("error_part_exponent", data)
    assert near(spread, 0.5)


def test_a_family_that_errs_alike_is_no_bias(shelf: Shelf) -> None:
    shelf.labels["group"] = [f"family{i // 12}" for i in range(len(shelf.labels))]

    def errors(run: Run, table: pd.DataFrame) -> Array:
        number = table["group"].str.removeprefix("family").astype(int)
        own = np.random.default_rng([run.seed, 3]).normal(size=number.max() + 1)
        found: Array = own[number] * np.sqrt(table.n_atoms.to_numpy())
        return found

    data = shelf.grid(errors, ("raw",))
    for found in measure("error_bias_share", data):
        assert found.low < 0 < found.high
        assert abs(found.estimate) < 0.2


def test_the_share_of_bias_is_that_of_a_loop_over_pairs(shelf: Shelf) -> None:
    shelf.labels = shelf.labels.iloc[:120].copy()
    shelf.labels["group"] = [f"family{i // 6}" for i in range(len(shelf.labels))]
    data = shelf.grid(with_bias(0.4), ("raw",))
    parts = Parts.of(data, "raw", 1.0, "phase")
    ones = np.ones((1, *parts.error.shape))
    table = parts.structures
    for name in parts.size_groups:
        bias, square = 0.0, 0.0
        inside = (table.size_group == name).to_numpy()
        for seed in range(len(parts.error)):
            for phase in sorted(set(table.phase)):
                chosen = np.flatnonzero(inside & (table.phase == phase).to_numpy())
                e, f = parts.error[seed, chosen], parts.families[chosen]
                n = table.n_atoms.to_numpy(float)[chosen]
                pairs = [(i, j) for i in range(len(e)) for j in range(len(e)) if f[i] != f[j]]
                above, below = (sum(x[i] * x[j] for i, j in pairs) for x in (e, n))
                bias += above / below * np.sum(n**2)
                square += np.sum(e**2)
        assert parts.share(ones, name)[0] == pytest.approx(bias / square)


def test_without_two_families_there_is_no_bias_to_tell(shelf: Shelf) -> None:
    shelf.labels["group"] = shelf.labels.size_group
    data = shelf.grid(with_bias(0.4), ("raw",))
    assert "made: no two families of like structures" in failure(
        lambda: measure("error_bias_share", data)
    )
    shelf.results.clear()
    shelf.labels["size_group"], shelf.labels["group"] = "2–256", shelf.labels.structure
    one = shelf.grid(with_bias(0.4), ("raw",))
    assert "one size group" in failure(lambda: measure("error_part_exponent", one))
