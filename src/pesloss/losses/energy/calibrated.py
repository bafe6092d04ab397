"""The correlated loss with κ, σ and τ learnt from the model's own errors while it trains."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pesloss.losses.base import EnergyLoss
from pesloss.losses.energy import correlated
from pesloss.scales.energy import EnergyStandardizer
from pesloss.scales.scales import Scales

TITLE = "calibrated"
PLACE = 70
COLOUR = "#56B4E9"
MARKER = "P"
KEPT = 0.5  # share of the former variances that a calibration keeps
LIMIT = 10.0  # factor within which every s_k stays of the one it started with


class Loss(EnergyLoss):
    """``s_k² = κ² + Σ_z n_kz σ_z² + (Σ_z n_kz τ_z)²`` of ``Ê − E`` in place of E (science.md §3).

    It starts as the correlated loss of the labels. After 10, 20, 40, 60 and 80 % of the training
    κ, σ_z and one τ are fitted by REML to the residuals of the training structures, and their
    variances averaged with the former ones; both are brought to the geometric mean of ``s_k``
    over these structures that the loss started with. So only the shape of ``s_k`` changes, not
    the weight of the energy term, and the shape forgets half of what it was each time. No
    ``s_k`` leaves a factor of ten around its start, whatever the residuals: the weights cannot
    run away.

    Attributes
    ----------
    fitted
        The last fit to residuals, in their unit; None before the first.
    """

    formula = "√(κ² + Σ n_z σ_z² + (Σ n_z τ_z)²) of the model's residuals"
    schedule = (0.1, 0.2, 0.4, 0.6, 0.8)

    def __init__(self, scales: Scales | None = None) -> None:
        super().__init__(scales)
        self.fitted: EnergyStandardizer | None = None
        self._start = correlated.Loss(self.scales)
        tau = np.asarray(self.scales.shared_scale)
        self._structure = self.scales.structure_scale**2
        self._own = np.square(self.scales.correlated_scale)
        self._shared = np.outer(tau, tau)

    def scale(self, composition: Tensor) -> Tensor:
        """Return ``s_k`` in eV, shape (S,)."""
        start = self._start.scale(composition)
        return self._variance(composition).sqrt().clamp(start / LIMIT, start * LIMIT)

    def calibrate(self, composition: NDArray[np.float64], residual: NDArray[np.float64]) -> None:
        """Fit κ, σ_z and τ to the residuals and move half of the way to them.

        Raises
        ------
        PeslossError
            When a residual is not finite, naming its place.
        """
        fitted = EnergyStandardizer(shared="one").fit(composition, residual, self.scales.species)
        self.fitted = fitted
        tau = float(fitted.shared_std_[0])
        found = fitted.structure_std_**2 + composition @ fitted.std_**2
        found = found + np.square(composition.sum(axis=1) * tau)
        if not (found > 0).all():
            return
        counts = torch.as_tensor(composition, dtype=torch.float64)
        start = self._start.scale(counts).numpy() ** 2
        self._blend(_level(start) / _level(found), fitted.structure_std_, fitted.std_, tau)
        self._multiply(_level(start) / _level(self._variance(counts).numpy()))

    def _variance(self, composition: Tensor) -> Tensor:
        own, shared = composition.new_tensor(self._own), composition.new_tensor(self._shared)
        common = ((composition @ shared) * composition).sum(dim=1)
        return self._structure + composition @ own + common

    def _blend(self, factor: float, kappa: float, sigma: NDArray[np.float64], tau: float) -> None:
        share = (1 - KEPT) * factor
        self._multiply(KEPT)
        self._structure = self._structure + share * kappa**2
        self._own = self._own + share * sigma**2
        self._shared = self._shared + share * tau**2

    def _multiply(self, factor: float) -> None:
        self._structure, self._own = factor * self._structure, factor * self._own
        self._shared = factor * self._shared

    def state_dict(self) -> dict[str, Any]:
        """Return the variances: κ², σ_z² (Z,) and the products τ_y τ_z (Z, Z)."""
        return {
            "structure": float(self._structure),
            "own": self._own.tolist(),
            "shared": self._shared.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to the variances that `state_dict` returned."""
        self._structure = float(state["structure"])
        self._own = np.asarray(state["own"], dtype=np.float64)
        self._shared = np.asarray(state["shared"], dtype=np.float64)


def _level(variance: NDArray[np.float64]) -> float:
    """Geometric mean."""
    return float(np.exp(np.log(variance).mean()))
