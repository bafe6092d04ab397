"""Laws of the force standardiser."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pesloss.job.errors import PeslossError
from pesloss.scales.forces import ForceStandardizer


def draw(n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    numbers = rng.choice([1, 6, 8], n)
    scale = np.select([numbers == 1, numbers == 6], [0.5, 2.0], 1.0)
    return numbers, scale[:, None] * rng.normal(size=(n, 3))


def test_truth_and_errors() -> None:
    hits = np.zeros(3)
    for seed in range(300):
        fit = ForceStandardizer().fit(*draw(300, seed))
        hits += np.abs(fit.scale_ - [0.5, 2.0, 1.0]) < 1.96 * fit.scale_se_
    assert np.all((hits / 300 > 0.91) & (hits / 300 < 0.98))
    assert fit.species_.tolist() == [1, 6, 8]


def test_clusters_widen_errors_of_shared_scales() -> None:
    rng = np.random.default_rng(0)
    structure = np.repeat(np.arange(100), 20)
    forces = np.exp(rng.normal(size=100))[structure, None] * rng.normal(size=(2000, 3))
    numbers = np.full(2000, 14)
    alone = ForceStandardizer().fit(numbers, forces).scale_se_
    together = ForceStandardizer().fit(numbers, forces, structure).scale_se_
    assert together[0] > 2 * alone[0]


def test_unit_change_and_round_trip() -> None:
    numbers, forces = draw(500, 1)
    fit = ForceStandardizer().fit(numbers, forces)
    other = ForceStandardizer().fit(numbers, 23.06 * forces)
    assert np.allclose(other.scale_, 23.06 * fit.scale_, rtol=1e-12)
    unit = fit.transform(numbers, forces)
    assert np.allclose((unit[numbers == 6] ** 2).mean(), 1)
    assert np.allclose(fit.inverse_transform(numbers, unit), forces)
    assert repr(fit) == "ForceStandardizer()"


def test_wrong_input_is_refused() -> None:
    with pytest.raises(PeslossError, match="not fitted"):
        ForceStandardizer().scale([1])
    with pytest.raises(PeslossError, match="shapes"):
        ForceStandardizer().fit([1, 2], np.zeros((3, 3)))
    with pytest.raises(PeslossError, match="force on atom 0"):
        ForceStandardizer().fit([1], np.full((1, 3), np.inf))
    with pytest.raises(PeslossError, match="atomic number is 0"):
        ForceStandardizer().fit([0], np.ones((1, 3)))
    with pytest.raises(PeslossError, match="structure"):
        ForceStandardizer().fit([1], np.ones((1, 3)), [0, 1])
    fit = ForceStandardizer().fit([1, 8], [[1, 1, 1], [0, 0, 0]])
    assert fit.unusable_ == ["O"]
    with pytest.raises(PeslossError, match="species is 'C'; allowed: H, O"):
        fit.scale([6])
    with pytest.raises(PeslossError, match="forces on O were all zero"):
        fit.scale([8])
