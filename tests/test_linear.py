"""The exact arm: closed-form fits against slow twins, the Gauss–Markov bound, known exponents."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from ase.calculators.singlepoint import SinglePointCalculator
from conftest import MODEL, Tiny, failure
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pesloss.data.graphs import build_graphs
from pesloss.data.kinds import labels
from pesloss.job.errors import PeslossError
from pesloss.linear.efficiency import (
    data_multiplier,
    efficiency_table,
    optimal_exponent,
    simulated_multiplier,
)
from pesloss.linear.features import Features, drawn_features, frozen_features
from pesloss.linear.fit import by_size, fit_linear
from pesloss.linear.halves import Families
from pesloss.linear.least_squares import basis, covariance, estimators, gauss_markov, solve
from pesloss.linear.summary import LOSSES, Fits, summarize
from pesloss.linear.weightings import EXPONENTS, best_exponent, weightings
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.statistics.fit import fit_statistics
from pesloss.training.objective import scales_of

Array = NDArray[np.float64]
SIGMA = {"H": labels.Spread(mu=-12.0, sigma=0.5), "O": labels.Spread(mu=-100.0, sigma=0.5)}
TAU = {"H": labels.Spread(mu=-12.0, tau=0.1), "O": labels.Spread(mu=-100.0, tau=0.1)}
NONE = {"H": labels.Spread(mu=-12.0), "O": labels.Spread(mu=-100.0)}
PLANTED = {
    0.0: labels.Recipe(species=NONE, kappa=1.5, proportions="random"),
    0.5: labels.Recipe(species=SIGMA, proportions="random"),
    1.0: labels.Recipe(species=TAU, proportions="random"),
}


def problem(seed: int = 0, n: int = 60, d: int = 5) -> tuple[Array, Array, Array]:
    """Features of structures of 2 to 200 atoms, sizes, and variances of no particular law."""
    rng = np.random.default_rng(seed)
    n_atoms = np.floor(np.exp(rng.uniform(np.log(2), np.log(200), n)))
    features = np.hstack([n_atoms[:, None], rng.normal(size=(n, d - 1)) * n_atoms[:, None] ** 0.7])
    return features, n_atoms, rng.lognormal(size=n) * n_atoms


def drawn(alpha: float, n: int = 600, seed: int = 3) -> pd.DataFrame:
    return labels.draw(PLANTED[alpha], n, np.random.default_rng(seed))


def fitted(table: pd.DataFrame) -> DatasetStatistics:
    return fit_statistics("drawn", table, table[["structure"]].assign(split="train"))


def features_of(table: pd.DataFrame, n_models: int = 2) -> Features:
    names, sizes = table.structure.to_numpy(str), table.n_atoms.to_numpy(float)
    return drawn_features(names, sizes, n_models, np.random.default_rng(4))


def test_closed_form_is_that_of_statsmodels() -> None:
    features, n_atoms, variance = problem()
    energies = np.random.default_rng(1).normal(size=len(n_atoms)) * np.sqrt(variance)
    weights = np.stack([n_atoms**-p for p in (0.0, 1.0, 2.0)])
    found = solve(features, energies, weights)
    for row, weight in zip(found, weights, strict=True):
        twin = sm.WLS(energies, features, weights=weight).fit()
        np.testing.assert_allclose(row, twin.params, rtol=1e-9)
        root = np.sqrt(weight)
        slow = np.linalg.lstsq(features * root[:, None], energies * root, rcond=None)[0]
        np.testing.assert_allclose(row, slow, rtol=1e-9)
    many = solve(features, np.stack([energies, 2 * energies], axis=1), weights)
    np.testing.assert_allclose(many[:, :, 1], 2 * found, rtol=1e-9)
    np.testing.assert_allclose(estimators(features, weights) @ energies, found, rtol=1e-9)


def test_bound_is_the_covariance_that_statsmodels_gives_the_best_weights() -> None:
    features, n_atoms, variance = problem()
    twin = sm.WLS(np.zeros(len(n_atoms)), features, weights=1 / variance).fit()
    np.testing.assert_allclose(
        gauss_markov(features, variance), twin.normalized_cov_params, rtol=1e-8
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), p=st.floats(-1, 4))
def test_nothing_undercuts_the_gauss_markov_bound(seed: int, p: float) -> None:
    features, n_atoms, variance = problem(seed, n=30, d=4)
    random = np.random.default_rng(seed).lognormal(size=len(n_atoms))
    weights = np.stack([n_atoms**-p, random, 1 / variance])
    multipliers = data_multiplier(features, weights, variance)
    assert (multipliers > 1 - 1e-7).all()
    assert multipliers[2] == pytest.approx(1, abs=1e-7)
    excess = covariance(features, weights, variance) - gauss_markov(features, variance)
    length = np.sqrt(np.diagonal(gauss_markov(features, variance)))
    for matrix in excess:
        assert np.linalg.eigvalsh(matrix / np.outer(length, length)).min() > -1e-6


def test_exact_variance_is_that_of_replicates() -> None:
    features, n_atoms, variance = problem(2)
    weights = np.stack([n_atoms**-p for p in (0.0, 1.0, 2.0, 3.0)])
    rng = np.random.default_rng(5)
    exact = data_multiplier(features, weights, variance)
    simulated, error = simulated_multiplier(features, weights, variance, 4000, rng)
    assert (np.abs(simulated - exact) < 4 * error).all()
    assert (error < 0.05 * exact).all()
    wrong = data_multiplier(features, weights, variance * n_atoms)
    assert (np.abs(simulated - wrong) > 4 * error).any()


@pytest.mark.parametrize("alpha", PLANTED)
def test_best_exponent_is_twice_the_planted_one_exactly(alpha: float) -> None:
    features, n_atoms, _ = problem(7)
    assert optimal_exponent(features, n_atoms, 3 * n_atoms ** (2 * alpha)) == pytest.approx(
        2 * alpha, abs=1e-3
    )


def test_multipliers_know_no_units_and_no_copies() -> None:
    features, n_atoms, variance = problem(3)
    weights = np.stack([n_atoms**-p for p in (0.0, 2.0)])
    found = data_multiplier(features, weights, variance)
    in_mev = data_multiplier(1e3 * features, 7 * weights, 1e6 * variance)
    np.testing.assert_allclose(in_mev, found, rtol=1e-9)
    twice = data_multiplier(
        np.vstack([features] * 2), np.hstack([weights] * 2), np.hstack([variance] * 2)
    )
    np.testing.assert_allclose(twice, found, rtol=1e-9)


def test_a_basis_spans_the_features_and_drops_what_is_said_twice() -> None:
    features, n_atoms, variance = problem(4)
    energies = np.random.default_rng(0).normal(size=len(n_atoms)) * variance
    weights = n_atoms[None] ** -1.5
    double = np.hstack([features, 1e4 * features[:, :2] - features[:, 2:4], 0 * features[:, :1]])
    assert "0 in all structures" in failure(lambda: solve(double, energies, weights))
    assert "linearly dependent" in failure(lambda: solve(double[:, :-1], energies, weights))
    columns = basis(double, n_atoms)
    assert columns.shape == features.shape
    np.testing.assert_allclose(
        columns @ solve(columns, energies, weights)[0],
        features @ solve(features, energies, weights)[0],
        rtol=1e-7,
    )


def test_best_of_a_parabola_is_its_minimum_and_an_end_stays_an_end() -> None:
    assert best_exponent(EXPONENTS, (EXPONENTS - 0.83) ** 2) == pytest.approx(0.83)
    assert best_exponent(EXPONENTS, -EXPONENTS) == EXPONENTS[-1]
    assert best_exponent(EXPONENTS, EXPONENTS) == EXPONENTS[0]


def test_weightings_are_the_losses() -> None:
    table = drawn(0.5)
    statistics = fitted(table)
    composition = statistics.composition(table)
    found = weightings(composition, scales_of(statistics))
    by_loss = dict(zip(found.loss, found.weights, strict=True))
    assert set(LOSSES) <= set(by_loss)
    n = composition.sum(axis=1)
    for loss, p in (("raw", 0.0), ("sqrt_root", 0.5), ("sqrt_n", 1.0), ("per_atom", 2.0)):
        np.testing.assert_allclose(by_loss[loss], n**-p / np.mean(n**-p), rtol=1e-12)
    variance = composition @ np.square(statistics.local_energy_scale)
    expected = 1 / variance / np.mean(1 / variance)
    np.testing.assert_allclose(by_loss["standardized"], expected, rtol=1e-12)


def test_score_by_size_leans_to_no_power_of_the_size() -> None:
    rng = np.random.default_rng(0)
    size = np.repeat([0, 1, 2], 30)
    n_atoms = np.array([4.0, 20.0, 90.0])[size]
    squares, weights = rng.lognormal(size=(4, 90)), rng.integers(0, 3, 90).astype(float)
    first = by_size(squares, size, weights)
    for power in (0.5, 1.0, 2.0):
        moved = by_size(squares / n_atoms**power, size, weights)
        np.testing.assert_allclose(np.ptp(moved - first), 0, atol=1e-12)


@pytest.mark.parametrize("alpha", PLANTED)
def test_fits_find_the_planted_exponent_from_energies_alone(alpha: float) -> None:
    table = drawn(alpha)
    found = fit_linear(features_of(table), table, fitted(table), 40, np.random.default_rng(6))
    fits = Fits(found)
    best, low, high = fits.interval(fits.best("variance"), 0.999)
    assert low < 2 * alpha < high
    assert high - low < 1.6
    difference, low, high = fits.interval(fits.difference(), 0.999)
    assert low < 0 < high
    row = summarize("drawn", found).iloc[0]
    assert row.best_p_variance == pytest.approx(best)
    assert row.difference == pytest.approx(difference)
    near, far = ("raw", "per_atom") if alpha < 1 else ("per_atom", "raw")
    assert row[f"multiplier_{far}"] > row[f"multiplier_{near}"]


def test_fits_know_no_units() -> None:
    table = drawn(0.5, n=120)
    features = features_of(table)
    one = fit_linear(features, table, fitted(table), 3, np.random.default_rng(0))
    scaled = table.assign(energy=table.energy / 27.2)
    other = fit_linear(
        Features(features.structure, 50 * features.values),
        scaled, fitted(scaled), 3, np.random.default_rng(0),
    )  # fmt: skip
    for name in ("variance", "error"):
        np.testing.assert_allclose(Fits(one).best(name), Fits(other).best(name), atol=1e-3)
    np.testing.assert_allclose(Fits(one).alpha, Fits(other).alpha, atol=1e-4)


def test_halves_keep_families_whole_and_share_sizes() -> None:
    table = drawn(0.5, n=200).assign(group=[f"g{i // 3}" for i in range(200)])
    families, rng = Families.of(table), np.random.default_rng(0)
    counts = families.draw(rng)
    assert counts.sum() == families.number
    share = np.mean([families.halves(counts, rng) for _ in range(400)], axis=0)
    first = families.halves(counts, rng)
    present = counts[families.family] > 0
    assert pd.Series(first).groupby(table.group.to_numpy()).nunique().max() == 1
    assert share[present] == pytest.approx(0.5, abs=5 * 0.5 / 20)
    assert not share[~present].any()


def test_too_few_families_are_refused_in_one_line() -> None:
    table = drawn(0.5, n=60).assign(group="one")
    rng = np.random.default_rng(0)
    found = fit_linear(features_of(table), table, fitted(table), 5, rng)
    assert found.replicate.nunique() == 6
    assert found.log_error.isna().all()
    fits = Fits(found)
    assert "do not determine" in failure(lambda: fits.interval(fits.best("error")))
    row = summarize("few", found)
    assert row.filter(regex="best_p|multiplier").isna().all(axis=None)


def test_species_without_statistics_are_refused() -> None:
    table = drawn(0.5, n=60)
    known = fitted(table)
    foreign = table.assign(n_Xe=1, n_atoms=table.n_atoms + 1)
    rng = np.random.default_rng(0)
    message = failure(lambda: fit_linear(features_of(table), foreign, known, 5, rng))
    assert "species that the training split lacks" in message


def test_efficiency_table_agrees_with_its_replicates() -> None:
    table = drawn(1.0, n=300)
    statistics = fitted(table)
    found = efficiency_table(
        statistics.composition(table),
        features_of(table).values[0],
        table.energy_variance.to_numpy(),
        scales_of(statistics),
        2000,
        np.random.default_rng(0),
    )
    gap = (found.simulated_multiplier - found.data_multiplier).abs()
    assert (gap < 4.5 * found.simulated_se).all()
    assert found.best_exponent[0] == pytest.approx(2.0, abs=0.02)
    assert found.variance_exponent[0] == pytest.approx(1.0, abs=0.02)
    assert found.data_multiplier.min() == pytest.approx(1.0, abs=0.01)


def test_frozen_features_know_no_rotation_and_no_order_of_atoms(tiny: Tiny) -> None:
    turned = []
    turn = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    rng = np.random.default_rng(0)
    for atoms in tiny.structures:
        other = atoms[rng.permutation(len(atoms))]
        other.set_cell(other.cell.array @ turn.T)
        other.positions = other.positions @ turn.T
        other.info = atoms.info
        other.calc = SinglePointCalculator(other, energy=0.0, forces=np.zeros((len(other), 3)))
        turned.append(other)
    one = frozen_features(tiny.graphs, tiny.statistics, MODEL, 2)
    same = frozen_features(build_graphs(turned, MODEL.cutoff), tiny.statistics, MODEL, 2)
    assert one.values.shape == (2, len(tiny.structures), MODEL.n_features)
    np.testing.assert_allclose(same.values, one.values, rtol=1e-9, atol=1e-9)
    assert np.abs(one.values[0] - one.values[1]).max() > 0.01
    assert np.linalg.matrix_rank(one.values[0]) > 3


def test_frozen_features_of_copies_are_as_many_times_as_large(tiny: Tiny) -> None:
    crystal = next(atoms for atoms in tiny.structures if atoms.pbc.all())
    both = [crystal.copy(), crystal.repeat((2, 1, 1))]
    for atoms, name in zip(both, ("one", "two"), strict=True):
        atoms.info["structure"] = name
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
    found = frozen_features(build_graphs(both, MODEL.cutoff), tiny.statistics, MODEL, 1).values[0]
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-9)


def test_features_come_back_from_their_file_and_a_broken_file_is_named(tmp_path: Path) -> None:
    features = Features(np.array(["a", "b"]), np.ones((2, 2, 3)))
    path = tmp_path / "features.npz"
    features.write(path)
    again = Features.read(path)
    np.testing.assert_array_equal(again.values, features.values)
    assert list(again.structure) == ["a", "b"]
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(PeslossError, match="not a feature file"):
        Features.read(path)
    with pytest.raises(PeslossError, match="no such file"):
        Features.read(tmp_path / "none.npz")
