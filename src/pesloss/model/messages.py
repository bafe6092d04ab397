"""Sums over neighbour pairs in which each pair is visited once for both of its directions.

Messages of pairs (i, j) are derivatives of a form that is linear in each of its arguments,

- scalar: ``Σ_p Σ_cf (g_icf x_jcf + g_jcf x_icf) w_pf``, with filters w of the pair, the same seen
  from either atom,
- vector: ``Σ_p Σ_cf (g_icf x_jf − g_jcf x_if) w_pf u_pc``, with the pair's direction u, which
  changes sign.

The messages are the derivative by g. A derivative by one argument is linear in the others, and its
own derivatives are those of the form by other arguments, with what comes in instead of the first.
So forces, and the gradient of a loss of forces, need the same few loops again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pesloss.model import pair_kernels


class Pairs(NamedTuple):
    """The atoms of P neighbour pairs, each pair once."""

    first: Tensor  # (P,)
    second: Tensor  # (P,)


def messages(x: Tensor, filters: Tensor, pairs: Pairs) -> Tensor:
    """Return ``m_i = Σ_j w_ij x_j`` with ``w_ji = w_ij``.

    Parameters
    ----------
    x
        Features, (A, c, F).
    filters
        (P, F).
    pairs
        The pairs (i, j) that the filters belong to.

    Returns
    -------
    Tensor
        (A, c, F).
    """
    return _derived("g", pairs, len(x), None, x, filters)


def vector_messages(x: Tensor, filters: Tensor, direction: Tensor, pairs: Pairs) -> Tensor:
    """Return ``m_i = Σ_j w_ij u_ij x_j`` with ``w_ji = w_ij`` and ``u_ji = −u_ij``.

    Parameters
    ----------
    x
        Features, (A, 1, F).
    filters
        (P, F).
    direction
        (P, 3).
    pairs
        The pairs (i, j) that filters and directions belong to.

    Returns
    -------
    Tensor
        (A, 3, F).
    """
    return _derived("g", pairs, len(x), None, x, filters, direction)


def _derived(by: str, pairs: Pairs, n_atoms: int, *arguments: Tensor | None) -> Tensor:
    result: Tensor = _Derivative.apply(by, pairs, n_atoms, *arguments)  # type: ignore[no-untyped-call]
    return result


class _Derivative(torch.autograd.Function):
    """The derivative of a form by one of its arguments g, x, w and, of vectors, u."""

    @staticmethod
    def forward(ctx: Any, by: str, pairs: Pairs, n_atoms: int, *arguments: Tensor | None) -> Tensor:
        ctx.save_for_backward(*arguments)
        ctx.by, ctx.pairs, ctx.n_atoms = by, pairs, n_atoms
        return _derivative(by, pairs, n_atoms, arguments)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        arguments = list(ctx.saved_tensors)
        place = "gxwu".index(ctx.by)
        arguments[place] = grad
        found: list[Tensor | None] = [None] * len(arguments)
        for k, name in enumerate("gxwu"[: len(arguments)]):
            if k != place and ctx.needs_input_grad[3 + k]:
                others = [None if m == k else a for m, a in enumerate(arguments)]
                found[k] = _derived(name, ctx.pairs, ctx.n_atoms, *others)
        return None, None, None, *found


def _derivative(
    by: str, pairs: Pairs, n_atoms: int, arguments: tuple[Tensor | None, ...]
) -> Tensor:
    given = [a for a in arguments if a is not None]
    form = "scalar" if len(arguments) == 3 else "vector"
    loops = pair_kernels.load(given[0].dtype) if given[0].device.type == "cpu" else None
    if loops is None:
        return _IN_TORCH[f"{form}_{by}"](pairs, n_atoms, *given)
    like = given[0]
    n = like.shape[-1]
    channels = like.shape[1] if form == "scalar" else 3
    shape = {
        "g": (n_atoms, channels, n),
        "x": (n_atoms, channels if form == "scalar" else 1, n),
        "w": (len(pairs.first), n),
        "u": (len(pairs.first), 3),
    }[by]
    # A loop that sums over the pairs of an atom adds to what is there; the others write.
    adds = by in "gx" or form == "scalar"
    out = like.new_zeros(shape) if adds else like.new_empty(shape)
    # The scalar form is the same in g and x.
    loop = loops["scalar_g" if (form, by) == ("scalar", "x") else f"{form}_{by}"]
    operands = [_by_rows(value) for value in given]
    rows = [part for value in (*operands, out) for part in (value.data_ptr(), value.stride(0))]
    first, second = pairs
    loop(len(first), n, channels, first.data_ptr(), second.data_ptr(), *rows)
    return out


def _by_rows(values: Tensor) -> Tensor:
    """Return ``values`` (K, F) or (K, c, F) with each row in one piece of memory."""
    regular = values.stride(-1) == 1 and (
        values.dim() == 2 or values.shape[1] == 1 or values.stride(1) == values.shape[2]
    )
    return values if regular else values.contiguous()


def _scalar_by_g(pairs: Pairs, n_atoms: int, x: Tensor, w: Tensor) -> Tensor:
    return _gathered(pairs, n_atoms, x[pairs.second] * w[:, None], x[pairs.first] * w[:, None])


def _scalar_by_w(pairs: Pairs, n_atoms: int, g: Tensor, x: Tensor) -> Tensor:
    return (g[pairs.first] * x[pairs.second] + g[pairs.second] * x[pairs.first]).sum(dim=1)


def _vector_by_g(pairs: Pairs, n_atoms: int, x: Tensor, w: Tensor, u: Tensor) -> Tensor:
    turned = w[:, None] * u[:, :, None]
    return _gathered(pairs, n_atoms, x[pairs.second] * turned, -x[pairs.first] * turned)


def _vector_by_x(pairs: Pairs, n_atoms: int, g: Tensor, w: Tensor, u: Tensor) -> Tensor:
    turned = w[:, None] * u[:, :, None]
    to_first, to_second = -g[pairs.second] * turned, g[pairs.first] * turned
    sums = (value.sum(dim=1, keepdim=True) for value in (to_first, to_second))
    return _gathered(pairs, n_atoms, *sums)


def _vector_by_w(pairs: Pairs, n_atoms: int, g: Tensor, x: Tensor, u: Tensor) -> Tensor:
    return (_difference(pairs, g, x) * u[:, :, None]).sum(dim=1)


def _vector_by_u(pairs: Pairs, n_atoms: int, g: Tensor, x: Tensor, w: Tensor) -> Tensor:
    return (_difference(pairs, g, x) * w[:, None]).sum(dim=2)


def _difference(pairs: Pairs, g: Tensor, x: Tensor) -> Tensor:
    return g[pairs.first] * x[pairs.second] - g[pairs.second] * x[pairs.first]


def _gathered(pairs: Pairs, n_atoms: int, to_first: Tensor, to_second: Tensor) -> Tensor:
    zeros = to_first.new_zeros(n_atoms, *to_first.shape[1:])
    return zeros.index_add_(0, pairs.first, to_first).index_add_(0, pairs.second, to_second)


_IN_TORCH: dict[str, Callable[..., Tensor]] = {
    "scalar_g": _scalar_by_g,
    "scalar_x": _scalar_by_g,
    "scalar_w": _scalar_by_w,
    "vector_g": _vector_by_g,
    "vector_x": _vector_by_x,
    "vector_w": _vector_by_w,
    "vector_u": _vector_by_u,
}
