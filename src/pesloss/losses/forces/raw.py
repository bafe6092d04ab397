"""Squared error of force components, every species alike."""

import torch
from torch import Tensor

from pesloss.losses.base import ForceLoss


class Loss(ForceLoss):
    """``η_i = 1``: what nearly all codes use."""

    formula = "1"

    def scale(self, species: Tensor) -> Tensor:
        """Return ones, shape (A,)."""
        return torch.ones(species.shape, dtype=torch.float64, device=species.device)
