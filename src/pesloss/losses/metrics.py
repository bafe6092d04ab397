"""What is done to a standardised error."""

from collections.abc import Callable

import torch
from torch import Tensor

Metric = Callable[[Tensor, float | Tensor], Tensor]


def mse(argument: Tensor, delta: float | Tensor) -> Tensor:
    """Return ``x²``; ``delta`` is not used."""
    return argument.square()


def mae(argument: Tensor, delta: float | Tensor) -> Tensor:
    """Return ``|x|``; ``delta`` is not used."""
    return argument.abs()


def huber(argument: Tensor, delta: float | Tensor) -> Tensor:
    """Return ``x²/2`` where ``|x| ≤ δ`` and ``δ(|x| − δ/2)`` beyond (Huber 1964).

    ``delta`` is one number or a tensor that broadcasts against ``argument``.
    """
    size = argument.abs()
    return torch.where(size <= delta, argument.square() / 2, delta * (size - delta / 2))


METRICS: dict[str, Metric] = {"mse": mse, "mae": mae, "huber": huber}
