"""SchNet and PaiNN of SchNetPack evaluated on each neighbour pair once.

The weights are SchNetPack's modules'; only the order of evaluation differs. A filter depends on
the weights and on the length d of a pair, which no weight changes. So the filters ``W(d)`` and
their slopes ``W'(d)`` are computed side by side, the same for both directions of a pair, and

    ∂E/∂d = Σ_l (∂E/∂W_l) · W_l'(d)

gives the forces: the gradient of a loss of forces passes a filter network once, as that of a loss
of energies does, and no second derivative of it is needed.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pesloss.model.batches import Batch
from pesloss.model.messages import Pairs, messages, vector_messages


class Radial(NamedTuple):
    """What filters see of P pairs: Gaussians, cutoff function and their slopes, and directions."""

    length: Tensor  # (P, 1) Å
    direction: Tensor  # (P, 3) from the first atom to the second
    gaussians: Tensor  # (P, R)
    gaussian_slopes: Tensor  # (P, R) 1/Å
    cutoff: Tensor  # (P, 1)
    cutoff_slope: Tensor  # (P, 1) 1/Å


def radial(batch: Batch, network: Any) -> Radial:
    """Compute SchNetPack's `GaussianRBF` and `CosineCutoff` and their slopes."""
    basis, cutoff = network.radial_basis, network.cutoff_fn.cutoff
    first, second = batch.pairs
    vector = batch.positions[second] - batch.positions[first] + batch.offset
    length = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    coefficient = -0.5 / basis.widths.square()
    distance = length - basis.offsets
    gaussians = torch.exp(coefficient * distance.square())
    angle = length * (math.pi / cutoff)
    inside = (length < cutoff).to(length.dtype)
    return Radial(
        length=length,
        direction=vector / length,
        gaussians=gaussians,
        gaussian_slopes=gaussians * (2 * coefficient * distance),
        cutoff=0.5 * (angle.cos() + 1) * inside,
        cutoff_slope=-0.5 * (math.pi / cutoff) * angle.sin() * inside,
    )


def schnet(
    network: Any, readout: nn.Module, scale: Tensor, batch: Batch, differentiable: bool
) -> tuple[Tensor, Tensor]:
    """Evaluate SchNetPack's `SchNet`.

    Parameters
    ----------
    network
        The representation.
    readout
        Takes features (A, F) to outputs (A, 1).
    scale
        (A,) eV, by which outputs are multiplied.
    batch
        The structures.
    differentiable
        Whether the forces can be differentiated by the weights.

    Returns
    -------
    tuple
        Local energies (A,) eV and forces (A, 3) eV/Å.
    """
    pairs, seen = batch.pairs, radial(batch, network)
    both = [_schnet_filters(block.filter_network, seen) for block in network.interactions]
    filters = _leaves([plain for plain, _ in both], differentiable)
    x = network.embedding(batch.numbers)
    for block, of_block in zip(network.interactions, filters, strict=True):
        summed = messages(block.in2f(x)[:, None], of_block, pairs).squeeze(1)
        first, second = block.f2out
        hidden = nn.functional.linear(summed, first.weight, first.bias)
        x = x + second(_ShiftedSoftplus.apply(hidden))  # type: ignore[no-untyped-call]
    local = scale * readout(x).squeeze(-1)
    grads = torch.autograd.grad(local.sum(), filters, create_graph=differentiable)
    along = _along(grads, [slopes for _, slopes in both])
    return local, _forces(along * seen.direction, pairs, len(x))


def _schnet_filters(network: Any, seen: Radial) -> tuple[Tensor, Tensor]:
    """Return filters (P, F) and their slopes (P, F)."""
    first, second = network
    hidden, slopes = _ShiftedSoftplusWithSlope.apply(  # type: ignore[no-untyped-call]
        torch.addmm(first.bias, seen.gaussians, first.weight.T),
        seen.gaussian_slopes @ first.weight.T,
    )
    plain = torch.addmm(second.bias, hidden, second.weight.T)
    slopes = slopes @ second.weight.T
    return plain * seen.cutoff, torch.addcmul(slopes * seen.cutoff, plain, seen.cutoff_slope)


def painn(
    network: Any, readout: nn.Module, scale: Tensor, batch: Batch, differentiable: bool
) -> tuple[Tensor, Tensor]:
    """Evaluate SchNetPack's `PaiNN`; parameters and result as those of `schnet`.

    What is known to be zero or to have no effect is left out: messages of the vectors in the first
    block, which are zero there, and the vectors after the last block.
    """
    n, pairs = network.n_atom_basis, batch.pairs
    seen = radial(batch, network)
    plain, slopes = (values.split(n, dim=1) for values in _painn_filters(network, seen))
    direction, *leaves = _leaves([seen.direction, *plain], differentiable)
    q, mu = network.embedding(batch.numbers), None
    waiting = list(leaves)
    for interaction, mixing in zip(network.interactions, network.mixing, strict=True):
        of_q, of_direction, of_mu = interaction.interatomic_context_net(q)[:, None].split(n, dim=2)
        q = q + messages(of_q, waiting.pop(0), pairs).squeeze(1)
        moved = vector_messages(of_direction, waiting.pop(0), direction, pairs)
        mu = moved if mu is None else mu + moved + messages(of_mu * mu, waiting.pop(0), pairs)
        q, mu = _mix(mixing, q, mu, last=not waiting)
    local = scale * readout(q).squeeze(-1)
    leaves = [direction, *leaves]
    turning, *grads = torch.autograd.grad(local.sum(), leaves, create_graph=differentiable)
    across = turning - (turning * seen.direction).sum(dim=1, keepdim=True) * seen.direction
    pull = torch.addcmul(across / seen.length, _along(grads, slopes), seen.direction)
    return local, _forces(pull, pairs, len(q))


def _painn_filters(network: Any, seen: Radial) -> tuple[Tensor, Tensor]:
    """Return filters (P, (3L − 1)F) and their slopes: linear in ``φ c`` and ``c``."""
    n = network.n_atom_basis
    weight = torch.cat([network.filter_net.weight, network.filter_net.bias[:, None]], dim=1)
    weight = torch.cat([weight[: 2 * n], weight[3 * n :]]).T
    value = torch.cat([seen.gaussians * seen.cutoff, seen.cutoff], dim=1)
    slope = seen.gaussian_slopes * seen.cutoff + seen.gaussians * seen.cutoff_slope
    return value @ weight, torch.cat([slope, seen.cutoff_slope], dim=1) @ weight


def _along(grads: Sequence[Tensor], slopes: Sequence[Tensor]) -> Tensor:
    """Return ∂E/∂d (P, 1) from ∂E/∂W and ``W'`` of all filters."""
    parts = [(grad * slope).sum(dim=1) for grad, slope in zip(grads, slopes, strict=True)]
    return torch.stack(parts).sum(dim=0)[:, None]


def _mix(mixing: Any, q: Tensor, mu: Tensor, last: bool) -> tuple[Tensor, Tensor]:
    """Mix features within atoms as `PaiNNMixing` does; after the last block only scalars count."""
    n = q.shape[1]
    v, w = mixing.mu_channel_mix(mu).split(n, dim=2)
    norm = (v.square().sum(dim=1) + mixing.epsilon).sqrt()
    mixed = mixing.intraatomic_context_net(torch.cat([q, norm], dim=1))
    to_q, to_mu, of_product = mixed.split(n, dim=1)
    q = q + to_q + of_product * (v * w).sum(dim=1)
    return q, mu if last else mu + to_mu[:, None] * w


def _leaves(filters: list[Tensor], differentiable: bool) -> list[Tensor]:
    """Return ``filters``, cut off from the weights where only forces are asked for."""
    return [
        f if differentiable and f.requires_grad else f.detach().requires_grad_() for f in filters
    ]


def _forces(pull: Tensor, pairs: Pairs, n_atoms: int) -> Tensor:
    """Return the forces (A, 3) from ∂E/∂r (P, 3) with r from the first atom to the second."""
    zeros = pull.new_zeros(n_atoms, 3)
    return zeros.index_add(0, pairs.first, pull).index_add(0, pairs.second, -pull)


def _shifted_softplus(z: Tensor) -> Tensor:
    """Return ``ln(1 + e^z) − ln 2``; torch's own softplus takes ten times as long."""
    return z.relu() - z.abs().sigmoid_().log_() - math.log(2.0)


class _ShiftedSoftplus(torch.autograd.Function):
    """``ln(1 + e^z) − ln 2``, to be differentiated as often as one likes."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return _shifted_softplus(z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return grad * torch.sigmoid(z)


class _ShiftedSoftplusWithSlope(torch.autograd.Function):
    """``ln(1 + e^z) − ln 2`` and its slope ``z' / (1 + e^−z)``, to be differentiated once."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        sigmoid = z.sigmoid()
        ctx.save_for_backward(sigmoid, slope)
        return _shifted_softplus(z), sigmoid * slope

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_slope: Tensor) -> tuple[Tensor, Tensor]:
        sigmoid, slope = ctx.saved_tensors
        by_slope = grad_slope * sigmoid
        by_z = torch.addcmul(grad * sigmoid, by_slope * (1 - sigmoid), slope)
        return by_z, by_slope
