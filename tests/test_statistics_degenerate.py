"""Degenerate data have a defined answer that names the elements."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from pesloss.benchmarks.scales import draw_compositions, draw_energies
from pesloss.job.errors import PeslossError
from pesloss.scales.energy import EnergyStandardizer


def test_one_composition_gives_equal_species() -> None:
    rng = np.random.default_rng(0)
    fit = EnergyStandardizer().fit([[2, 1]] * 50, -30 + 3 * rng.normal(size=50), ["H", "O"])
    assert fit.mean_[0] == pytest.approx(fit.mean_[1])
    assert fit.std_[0] == pytest.approx(fit.std_[1], rel=1e-3)
    assert fit.scale([[2, 1]])[0] == pytest.approx(3, abs=1)
    assert not fit.identifiable_.any()
    assert fit.unidentified_[0] == "H, O: only the sum 2 H + 1 O is fixed"
    assert "H, O: spreads" in fit.unidentified_[1]


def test_collinear_species_are_named_and_others_kept() -> None:
    rng = np.random.default_rng(1)
    water, carbon = rng.integers(1, 20, 400), rng.integers(1, 20, 400)
    counts = np.stack([2 * water, water, carbon], axis=1)
    energy = draw_energies(counts, (-13.0, -2040.0, -1030.0), (0.3, 0.3, 0.9), rng)
    fit = EnergyStandardizer().fit(counts, energy, [1, 8, 6])
    assert fit.identifiable_.tolist() == [False, False, True]
    assert "2 H + 1 O" in fit.unidentified_[0]
    assert fit.mean_[2] == pytest.approx(-1030, abs=0.2)
    assert fit.std_[2] == pytest.approx(0.9, abs=0.2)
    assert np.allclose(fit.transform(energy, counts).std(), 1, atol=0.1)


def test_species_seen_once() -> None:
    rng = np.random.default_rng(2)
    counts = np.c_[draw_compositions(200, 2, rng), np.zeros(200, int)]
    counts[17, 2] = 1
    energy = draw_energies(counts, (-1.0, -2.0, -5.0), (0.3, 0.6, 1.0), rng)
    fit = EnergyStandardizer().fit(counts, energy, ["Si", "O", "Pt"])
    assert fit.identifiable_.tolist() == [True, True, False]
    assert fit.unidentified_ == ["Pt: spreads are not fixed, set near the pooled one"]
    assert 0.2 < fit.std_[2] < 1
    assert np.isfinite(fit.mean_).all()


def test_species_in_no_structure() -> None:
    rng = np.random.default_rng(3)
    counts = np.c_[draw_compositions(100, 2, rng), np.zeros(100, int)]
    energy = draw_energies(counts, (-1.0, -2.0, 0.0), (0.3, 0.6, 1.0), rng)
    fit = EnergyStandardizer().fit(counts, energy, ["Si", "O", "Pt"])
    assert fit.unidentified_ == ["Pt: in no structure"]
    assert np.isfinite(fit.std_).all()


def test_one_structure() -> None:
    fit = EnergyStandardizer().fit([[2, 1]], [-30.0], ["H", "O"])
    assert np.allclose(fit.mean_, -10)
    assert not fit.identifiable_.any()
    assert np.allclose(fit.std_, 0)
    with pytest.raises(PeslossError, match=r"structure 0 \(H, O\) is 0"):
        fit.transform([-30.0], [[2, 1]])


def test_spread_at_zero_is_reported() -> None:
    rng = np.random.default_rng(4)
    counts = draw_compositions(500, 2, rng)
    energy = draw_energies(counts, (-1.0, -2.0), (0.0, 1.0), rng)
    fit = EnergyStandardizer().fit(counts, energy, ["He", "O"])
    assert fit.std_[0] < 0.1
    assert fit.floored_ == ["He"]
    assert fit.species_scale()[0] == fit.scale_floor_ > 0
    assert fit.std_interval()[0, 0] == 0


def test_perfect_fit_has_no_spread() -> None:
    counts = draw_compositions(50, 2, np.random.default_rng(5))
    fit = EnergyStandardizer().fit(counts, counts @ np.array([-1e4, -2e4]), ["He", "O"])
    assert np.allclose(fit.mean_, [-1e4, -2e4])
    assert not fit.std_.any()
    assert "nothing is left" in fit.unidentified_[0]


def test_outlier_is_flagged_not_dropped() -> None:
    rng = np.random.default_rng(6)
    counts = draw_compositions(400, 2, rng)
    energy = draw_energies(counts, (-1.0, -2.0), (0.5, 1.0), rng)
    clean = EnergyStandardizer().fit(counts, energy)
    assert clean.outliers_.size == 0
    energy[123] += 1e4
    fit = EnergyStandardizer().fit(counts, energy)
    assert fit.outliers_.tolist() == [123]
    assert any("outliers" in line and "123" in line for line in fit.warnings_)
    assert fit.std_.max() > 3 * clean.std_.max()


@pytest.mark.parametrize(
    ("composition", "energy", "message"),
    [
        (np.zeros((0, 2)), [], "composition: counts"),
        ([[1, 2]], [np.nan], "structure 0 is nan"),
        ([[1, -2]], [1.0], "structure 0 is"),
        ([[1, np.nan]], [1.0], "structure 0 is"),
        ([[1, 2], [0, 0]], [1.0, 2.0], "structure 1 is 'no atoms'"),
        ([[1, 2]], [1.0, 2.0], "energy: values"),
        ([1, 2], [1.0, 2.0], "composition: counts"),
        ([["a"]], [1.0], "composition: counts"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    composition: ArrayLike, energy: ArrayLike, message: str
) -> None:
    with pytest.raises(PeslossError, match=message) as caught:
        EnergyStandardizer().fit(composition, energy)
    assert "\n" not in str(caught.value)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(PeslossError, match="method is 'ols'; allowed: reml, ridge, nnls"):
        EnergyStandardizer("ols").fit([[1]], [1.0])  # type: ignore[arg-type]
    with pytest.raises(PeslossError, match="shared"):
        EnergyStandardizer(shared="both").fit([[1]], [1.0])  # type: ignore[arg-type]
    with pytest.raises(PeslossError, match="method is 'nnls'"):
        EnergyStandardizer("nnls", shared="one").fit([[1]], [1.0])
    with pytest.raises(PeslossError, match="2 different names"):
        EnergyStandardizer().fit([[1, 1]], [1.0], ["H"])
    with pytest.raises(PeslossError, match="atomic number is 0"):
        EnergyStandardizer().fit([[1, 1]], [1.0], [0, 1])
