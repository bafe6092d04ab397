"""Squared error of force components over the variance of the species' force components."""

import torch
from torch import Tensor

from pesloss.losses.base import ForceLoss


class Loss(ForceLoss):
    """``η_i = η_z``, the root mean square force component of the atom's species (science.md §1)."""

    def scale(self, species: Tensor) -> Tensor:
        """Return ``η_z`` of each atom in eV/Å, shape (A,)."""
        scale = torch.as_tensor(self.statistics.force_scale, dtype=torch.get_default_dtype())
        return scale.to(species.device)[species]
