"""Standard errors of means hold when the structures of a group deviate together."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pesloss.benchmarks.scales import draw_compositions
from pesloss.job.errors import PeslossError
from pesloss.scales.energy import EnergyStandardizer

MEANS = np.array([-5.0, -8.0])
SIGMA, SHARED = 0.2, 0.05
Data = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def drawn(rng: np.random.Generator, n_groups: int, size: int, shared: float = SHARED) -> Data:
    """Trajectories of one composition each, at two sizes, whose energies per atom are offset."""
    base = rng.multinomial(20, rng.dirichlet(np.ones(2), n_groups)) + 1
    counts = np.repeat(base, size, axis=0) * rng.integers(1, 3, (n_groups * size, 1))
    n_atoms, group = counts.sum(axis=1), np.repeat(np.arange(n_groups), size)
    own = np.sqrt(n_atoms) * SIGMA * rng.normal(size=len(n_atoms))
    return counts, counts @ MEANS + own + n_atoms * rng.normal(0, shared, n_groups)[group], group


def coverage(n_groups: int, size: int, shared: float, grouped: bool) -> float:
    rng = np.random.default_rng(7)
    inside = []
    for _ in range(60):
        counts, energy, group = drawn(rng, n_groups, size, shared)
        fit = EnergyStandardizer().fit(counts, energy, None, group if grouped else None)
        low, high = fit.mean_interval().T
        inside.append((low <= MEANS) & (high >= MEANS))
    return float(np.mean(inside))


@pytest.mark.parametrize(
    ("n_groups", "size", "shared"), [(6, 20, SHARED), (20, 8, SHARED), (20, 8, 0.0)]
)
def test_intervals_of_grouped_data_cover(n_groups: int, size: int, shared: float) -> None:
    assert 0.91 <= coverage(n_groups, size, shared, grouped=True) <= 1.0
    if shared:
        assert coverage(n_groups, size, shared, grouped=False) < 0.7


def test_errors_are_those_of_leaving_groups_out() -> None:
    counts, energy, group = drawn(np.random.default_rng(1), 9, 12)
    fit = EnergyStandardizer().fit(counts, energy, None, group)
    weight = 1 / (counts @ fit.std_**2)

    def means(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        scaled = counts[kept] * np.sqrt(weight[kept])[:, None]
        target = energy[kept] * np.sqrt(weight[kept])
        return np.asarray(np.linalg.lstsq(scaled, target, rcond=None)[0])

    without = np.array([means(group != g) for g in range(9)]) - means(group >= 0)
    assert fit.mean_se_ == pytest.approx(np.sqrt(8 / 9 * (without**2).sum(axis=0)), rel=1e-4)


def test_groups_of_one_change_nothing() -> None:
    counts, energy, _ = drawn(np.random.default_rng(2), 9, 12)
    plain = EnergyStandardizer().fit(counts, energy)
    alone = EnergyStandardizer().fit(counts, energy, None, [f"g{i}" for i in range(len(energy))])
    assert np.array_equal(plain.mean_se_, alone.mean_se_)


def test_groups_change_errors_alone_and_never_for_the_smaller() -> None:
    counts, energy, group = drawn(np.random.default_rng(3), 12, 10)
    plain = EnergyStandardizer().fit(counts, energy)
    grouped = EnergyStandardizer().fit(counts, energy, None, group)
    assert np.array_equal(plain.mean_, grouped.mean_)
    assert np.array_equal(plain.std_, grouped.std_)
    assert (grouped.mean_se_ >= plain.mean_se_).all()
    assert (grouped.mean_se_ > 2 * plain.mean_se_).all()
    assert (grouped.mean_dof_ <= 11).all()


def test_the_error_of_a_species_in_one_group_is_open() -> None:
    counts, energy, group = drawn(np.random.default_rng(4), 8, 10)
    third = np.where(group == 5, np.arange(len(group)) % 4, 0)
    counts = np.column_stack([counts, third])
    fit = EnergyStandardizer().fit(counts, energy - 3.0 * third, ["C", "O", "In"], group)
    assert np.isfinite(fit.mean_se_[:2]).all()
    assert np.isnan(fit.mean_se_[2])


def test_two_ways_to_group_agree_within_their_errors() -> None:
    """The mean of a species that few trajectories hold depends on which of them are seen."""
    rng = np.random.default_rng(5)
    apart = []
    for _ in range(30):
        counts = np.vstack([draw_compositions(60, 2, rng, (4, 20)), np.repeat([[10, 10]], 60, 0)])
        group = np.r_[np.arange(60), 60 + np.arange(60) // 10]
        counts = np.column_stack([counts, np.where(group >= 60, 4, 0)])
        offset = np.where(group >= 60, rng.normal(0, 1.0, 66)[group], 0.0)
        energy = counts @ [-5.0, -8.0, -3.0] + offset * 4 + rng.normal(0, 0.2, len(group))
        halves = [(group < 60) | (group % 2 == k) for k in (0, 1)]
        fits = [EnergyStandardizer().fit(counts[h], energy[h], None, group[h]) for h in halves]
        change = fits[0].mean_[2] - fits[1].mean_[2]
        apart.append(change / np.hypot(fits[0].mean_se_[2], fits[1].mean_se_[2]))
    assert np.std(apart) < 1.6


def test_labels_must_be_one_per_structure() -> None:
    with pytest.raises(PeslossError, match=r"groups: shape is \(2,\); allowed: \(3,\)"):
        EnergyStandardizer().fit([[1], [2], [3]], [1.0, 2.0, 3.0], None, ["a", "b"])
