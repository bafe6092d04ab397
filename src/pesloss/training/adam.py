"""Adam by torch's functional call.

``torch.optim.Adam`` and ``torch.use_deterministic_algorithms`` import torch's compiler when first
used, with which nothing is compiled here: 0.8 s in every job, a tenth of a short one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPS = 1e-8


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) with the settings and the bits of ``torch.optim``'s.

    Parameters
    ----------
    weights
        Parameters of the model; those without a gradient are left as they are.
    fused
        Update each weight in one pass.
    """

    def __init__(self, weights: Iterable[Tensor], *, fused: bool = True) -> None:
        self.weights = list(weights)
        self.fused = fused
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        self.squares = [torch.zeros_like(weight) for weight in self.weights]
        self.steps = [
            torch.zeros((), device=weight.device if fused else None) for weight in self.weights
        ]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights along their gradients at the learning rate ``rate``."""
        moved = [i for i, weight in enumerate(self.weights) if weight.grad is not None]

        def of(tensors: Sequence[Tensor]) -> list[Tensor]:
            return [tensors[i] for i in moved]

        adam(
            of(self.weights),
            [grad for weight in self.weights if (grad := weight.grad) is not None],
            of(self.means),
            of(self.squares),
            [],
            of(self.steps),
            fused=self.fused,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=0.0,
            eps=EPS,
            maximize=False,
        )

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return the moments and the number of steps of each weight."""
        return {"means": self.means, "squares": self.squares, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the moments and steps of ``state``."""
        for name, own in self.state_dict().items():
            for tensor, saved in zip(own, state[name], strict=True):
                tensor.copy_(saved)
