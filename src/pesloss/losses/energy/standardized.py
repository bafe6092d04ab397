"""Squared error over the variance that independent local energies would give the structure."""

from torch import Tensor

from pesloss.losses.base import EnergyLoss

TITLE = "standardized"
PLACE = 50
COLOUR = "#111111"
MARKER = "o"


class Loss(EnergyLoss):
    """``s_k² = Σ_z n_kz σ_z²`` (science.md §1). No published code uses it."""

    formula = "√(Σ n_z σ_z²)"

    def scale(self, composition: Tensor) -> Tensor:
        """Return ``s_k`` in eV, shape (S,)."""
        variance = composition.new_tensor(self.scales.local_energy_scale) ** 2
        return (composition @ variance).sqrt()
