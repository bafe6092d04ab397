"""Squared error of force components, every species alike."""

import torch
from torch import Tensor

from pesloss.losses.base import ForceLoss


class Loss(ForceLoss):
    """``η_i = 1``: the flat mean over components that nearly all codes use."""

    def scale(self, species: Tensor) -> Tensor:
        """Return ones, shape (A,)."""
        return torch.ones(species.shape, dtype=torch.get_default_dtype(), device=species.device)
