"""The calibrated loss finds planted values, keeps its level and cannot run away."""

import itertools

import numpy as np
import pytest
import torch
from batches import SCALES

from pesloss.benchmarks.scales import draw_compositions, draw_energies
from pesloss.job.errors import PeslossError
from pesloss.losses.energy import calibrated, correlated

SIGMA = (0.02, 0.3, 0.05)
ROUNDS = len(calibrated.Loss.schedule)


def planted(
    seed: int, n: int = 3000, tau: float = 0.0, kappa: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of a model whose local errors have other spreads than the labels."""
    rng = np.random.default_rng(seed)
    counts = draw_compositions(n, 3, rng).astype(float)
    residual = draw_energies(counts.astype(int), (0.0, 0.0, 0.0), SIGMA, rng, tau, kappa)
    return counts, residual


def relative(loss: calibrated.Loss | correlated.Loss, counts: np.ndarray) -> np.ndarray:
    """Scales over their geometric mean: all that matters for the weights."""
    scale = loss.scale(torch.as_tensor(counts)).numpy()
    return np.asarray(scale / np.exp(np.log(scale).mean()))


@pytest.mark.parametrize(("tau", "kappa"), [(0.0, 0.0), (0.04, 0.0), (0.0, 0.5), (0.04, 0.5)])
def test_planted_values_are_recovered(tau: float, kappa: float) -> None:
    loss = calibrated.Loss(SCALES)
    for seed in range(ROUNDS + 5):
        counts, residual = planted(seed, tau=tau, kappa=kappa)
        loss.calibrate(counts, residual)
    fitted = loss.fitted
    assert fitted is not None
    assert np.all(np.abs(fitted.std_ - SIGMA) <= 4 * np.fmax(fitted.std_se_, 0.002))
    assert fitted.shared_std_[0] == pytest.approx(tau, abs=4 * max(fitted.shared_std_se_[0], 5e-4))
    assert fitted.structure_std_ == pytest.approx(
        kappa, abs=4 * max(fitted.structure_std_se_, 0.01)
    )
    truth = np.sqrt(kappa**2 + counts @ np.square(SIGMA) + (counts.sum(1) * tau) ** 2)
    wanted = truth / np.exp(np.log(truth).mean())
    away = np.log(relative(loss, counts) / wanted)
    # σ and κ of structures made of the quietest species are known to a few tenths only
    assert np.sqrt(np.mean(away**2)) < 0.03
    assert np.abs(away).max() < 0.5


def test_it_starts_as_the_correlated_loss() -> None:
    counts = planted(0, 50)[0]
    start = correlated.Loss(SCALES).scale(torch.as_tensor(counts))
    assert torch.allclose(calibrated.Loss(SCALES).scale(torch.as_tensor(counts)), start)


def test_each_calibration_forgets_half_of_the_distance() -> None:
    counts, residual = planted(1)
    loss, distance = calibrated.Loss(SCALES), []
    final = calibrated.Loss(SCALES)
    for _ in range(25):
        final.calibrate(counts, residual)
    for _ in range(6):
        distance.append(
            float(np.abs(np.log(relative(loss, counts) / relative(final, counts))).max())
        )
        loss.calibrate(counts, residual)
    assert all(b < 0.75 * a for a, b in itertools.pairwise(distance))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 23.06, 1e6])
def test_the_level_does_not_follow_the_residuals(unit: float) -> None:
    """The weight of the energy term stays, however good the model gets or whatever the unit."""
    counts, residual = planted(2)
    loss = calibrated.Loss(SCALES)
    level = np.log(loss.scale(torch.as_tensor(counts)).numpy()).mean()
    reference = calibrated.Loss(SCALES)
    for _ in range(ROUNDS):
        loss.calibrate(counts, unit * residual)
        reference.calibrate(counts, residual)
    scale = loss.scale(torch.as_tensor(counts))
    assert float(scale.log().mean()) == pytest.approx(level, abs=1e-6)
    assert torch.allclose(scale, reference.scale(torch.as_tensor(counts)), rtol=1e-4)


def test_no_weight_leaves_its_bounds_whatever_the_residuals() -> None:
    rng = np.random.default_rng(3)
    loss, counts = calibrated.Loss(SCALES), planted(3, 300)[0]
    start = correlated.Loss(SCALES).scale(torch.as_tensor(counts))
    for k in range(25):
        residual = rng.standard_cauchy(300) * 10.0 ** rng.uniform(-8, 8)
        loss.calibrate(counts, residual * (counts[:, k % 3] > counts[:, (k + 1) % 3]))
        ratio = loss.scale(torch.as_tensor(counts)) / start
        assert bool(ratio.isfinite().all())
        assert float(ratio.min()) >= 1 / calibrated.LIMIT - 1e-9
        assert float(ratio.max()) <= calibrated.LIMIT + 1e-9


def test_an_overfitting_model_does_not_run_away() -> None:
    """Weighted least squares with half as many parameters as structures, fed by its residuals.

    What is weighted more is fitted better, which calibration answers with more weight.
    """
    rng = np.random.default_rng(4)
    counts, noise = planted(4, 200)
    design = rng.normal(size=(200, 100)) * np.sqrt(counts.sum(1))[:, None]
    loss, weights = calibrated.Loss(SCALES), []
    for _ in range(30):
        scale = loss.scale(torch.as_tensor(counts)).numpy()
        solution = np.linalg.lstsq(design / scale[:, None], noise / scale, rcond=None)[0]
        loss.calibrate(counts, design @ solution - noise)
        weights.append(relative(loss, counts))
    assert np.abs(np.log(weights[-1] / weights[-2])).max() < 0.05
    truth = np.sqrt(counts @ np.square(SIGMA))
    assert np.abs(np.log(weights[-1] / (truth / np.exp(np.log(truth).mean())))).max() < np.log(10)


def test_perfect_residuals_change_nothing() -> None:
    loss, counts = calibrated.Loss(SCALES), planted(5, 40)[0]
    before = loss.scale(torch.as_tensor(counts))
    loss.calibrate(counts, np.zeros(40))
    assert torch.equal(loss.scale(torch.as_tensor(counts)), before)


def test_a_residual_that_is_not_finite_is_named() -> None:
    counts, residual = planted(6, 40)
    residual[7] = np.nan
    with pytest.raises(PeslossError, match="structure 7 is nan"):
        calibrated.Loss(SCALES).calibrate(counts, residual)


def test_state_goes_back_and_forth() -> None:
    counts, residual = planted(7)
    loss, other = calibrated.Loss(SCALES), calibrated.Loss(SCALES)
    loss.calibrate(counts, residual)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(*(x.scale(torch.as_tensor(counts)) for x in (loss, other)))
    for each in (loss, other):
        each.calibrate(*planted(8))
    assert torch.equal(*(x.scale(torch.as_tensor(counts)) for x in (loss, other)))
