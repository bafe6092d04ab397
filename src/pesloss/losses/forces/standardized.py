"""Squared error of force components over the variance of the species' force components."""

import torch
from torch import Tensor

from pesloss.losses.base import ForceLoss


class Loss(ForceLoss):
    """``η_i = η_z``, the root mean square force component of the atom's species (science.md §1)."""

    formula = "η_z"

    def scale(self, species: Tensor) -> Tensor:
        """Return ``η_z`` of each atom in eV/Å, shape (A,)."""
        scale = torch.as_tensor(self.scales.force_scale, dtype=torch.float64)
        return scale.to(species.device)[species]
