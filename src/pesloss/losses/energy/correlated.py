"""Squared error over the variance of the structure's energy when its atoms share a part."""

from torch import Tensor

from pesloss.losses.base import EnergyLoss

TITLE = "correlated"
PLACE = 60
COLOUR = "#CC79A7"
MARKER = "D"
LEAST = 0.01  # share of the variance of independent local energies that is never undercut


class Loss(EnergyLoss):
    """``s_k² = κ² + Σ_z n_kz σ_z² + (Σ_z n_kz τ_z)²`` (science.md §2). No published code uses it.

    Where the fit puts σ, τ and κ to zero for the species of a structure, ``s_k²`` is a hundredth
    of what independent local energies would give.
    """

    formula = "√(κ² + Σ n_z σ_z² + (Σ n_z τ_z)²)"

    def scale(self, composition: Tensor) -> Tensor:
        """Return ``s_k`` in eV, shape (S,)."""
        scales = self.scales
        own, tau, independent = (
            composition.new_tensor(values)
            for values in (scales.correlated_scale, scales.shared_scale, scales.local_energy_scale)
        )
        variance = scales.structure_scale**2 + composition @ own**2 + (composition @ tau).square()
        return variance.maximum(LEAST * (composition @ independent**2)).sqrt()
