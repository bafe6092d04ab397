"""Sums over neighbour pairs in which each pair is visited once for both of its directions.

Two operations, with ``s = ±1`` for filters that are the same seen from either atom or change sign:

- messages: ``m_i += x_j w_p`` and ``m_j += s x_i w_p`` for every pair p = (i, j),
- products: ``w_p = g_i x_j + s g_j x_i``, the derivative of ``Σ g · m`` by the filters.

Both are bilinear and the derivatives of either are messages and products again, so that forces
and the gradient of a loss of forces need nothing else.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pesloss import pair_kernels


class Pairs(NamedTuple):
    """The atoms of P neighbour pairs, each pair once."""

    first: Tensor  # (P,)
    second: Tensor  # (P,)


class _Kind(NamedTuple):
    """How many channels features, filters and messages have, each 1 or 3, and the sign."""

    features: int
    filters: int
    messages: int
    sign: int

    def turned(self) -> "_Kind":
        """Return the kind in which features and messages have changed places."""
        return _Kind(self.messages, self.filters, self.features, self.sign)

    def steps(self, n: int) -> tuple[int, int, int]:
        """Return the distance between channels of features, filters and messages in memory."""
        features, filters, messages = (n if count == 3 else 0 for count in self[:3])
        return features, filters, messages

    @property
    def count(self) -> int:
        """Return the number of terms: 3 where anything has three channels."""
        return max(self[:3])


def messages(x: Tensor, filters: Tensor, pairs: Pairs, sign: int = 1) -> Tensor:
    """Return ``m_i = Σ_j w_ij x_j`` with ``w_ji = sign w_ij``.

    Parameters
    ----------
    x
        Features, (A, 1, F) or (A, 3, F).
    filters
        (P, 1, F) or (P, 3, F).
    pairs
        The pairs (i, j) that the filters belong to.
    sign
        1 or −1.

    Returns
    -------
    Tensor
        (A, 3, F) where features or filters have three channels, else (A, 1, F).
    """
    kind = _Kind(x.shape[1], filters.shape[1], max(x.shape[1], filters.shape[1]), sign)
    result: Tensor = _Messages.apply(x, filters, pairs, kind)
    return result


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, pairs: Pairs, kind: _Kind) -> Tensor:
        ctx.save_for_backward(x, filters)
        ctx.pairs, ctx.kind = pairs, kind
        return _sum(x, filters, pairs, kind)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, filters = ctx.saved_tensors
        pairs, kind = ctx.pairs, ctx.kind
        by_x = by_filters = None
        if ctx.needs_input_grad[0]:
            by_x = _signed(_Messages.apply(grad, filters, pairs, kind.turned()), kind)
        if ctx.needs_input_grad[1]:
            by_filters = _Products.apply(grad, x, pairs, kind)
        return by_x, by_filters, None, None


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, pairs: Pairs, kind: _Kind) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.pairs, ctx.kind = pairs, kind
        return _multiply(g, x, pairs, kind)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        g, x = ctx.saved_tensors
        pairs, kind = ctx.pairs, ctx.kind
        by_g = by_x = None
        if ctx.needs_input_grad[0]:
            by_g = _Messages.apply(x, grad, pairs, kind)
        if ctx.needs_input_grad[1]:
            by_x = _signed(_Messages.apply(g, grad, pairs, kind.turned()), kind)
        return by_g, by_x, None, None


def _signed(values: Tensor, kind: _Kind) -> Tensor:
    return values if kind.sign == 1 else -values


def _sum(x: Tensor, filters: Tensor, pairs: Pairs, kind: _Kind) -> Tensor:
    n = x.shape[-1]
    out = x.new_zeros(len(x), kind.messages, n)
    kernels = pair_kernels.load(x.dtype) if x.device.type == "cpu" else None
    if kernels is None:
        to_first, to_second = x[pairs.second] * filters, kind.sign * x[pairs.first] * filters
        if kind.messages < kind.count:
            to_first, to_second = (v.sum(dim=1, keepdim=True) for v in (to_first, to_second))
        return out.index_add_(0, pairs.first, to_first).index_add_(0, pairs.second, to_second)
    x, filters = _by_rows(x), _by_rows(filters)
    kernels.messages(
        len(pairs.first), n, kind.count, *kind.steps(n), kind.sign,
        pairs.first.data_ptr(), pairs.second.data_ptr(),
        x.data_ptr(), x.stride(0), filters.data_ptr(), filters.stride(0),
        out.data_ptr(), out.stride(0),
    )  # fmt: skip
    return out


def _multiply(g: Tensor, x: Tensor, pairs: Pairs, kind: _Kind) -> Tensor:
    n = x.shape[-1]
    kernels = pair_kernels.load(x.dtype) if x.device.type == "cpu" else None
    if kernels is None:
        out = g[pairs.first] * x[pairs.second] + kind.sign * g[pairs.second] * x[pairs.first]
        return out.sum(dim=1, keepdim=True) if kind.filters < kind.count else out
    out = x.new_zeros(len(pairs.first), kind.filters, n)
    x, g = _by_rows(x), _by_rows(g)
    kernels.products(
        len(pairs.first), n, kind.count, *kind.steps(n), kind.sign,
        pairs.first.data_ptr(), pairs.second.data_ptr(),
        x.data_ptr(), x.stride(0), g.data_ptr(), g.stride(0),
        out.data_ptr(), out.stride(0),
    )  # fmt: skip
    return out


def _by_rows(values: Tensor) -> Tensor:
    """Return ``values`` (K, c, F) with each row's channels one after the other in memory."""
    _, channels, n = values.shape
    regular = values.stride(2) == 1 and (channels == 1 or values.stride(1) == n)
    return values if regular else values.contiguous()
