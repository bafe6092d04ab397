# mypy: ignore-errors
"""A device that is not there: its tensors are computed on the processor and say otherwise."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

REMOTE = torch.device("lazy", 0)
ATEN = torch.ops.aten
COPIES = (ATEN._to_copy.default, ATEN.copy_.default)
INDEXING = (ATEN.index.Tensor, ATEN.index_put_.default, ATEN._index_put_impl_.default)


class RemoteTensor(Tensor):
    """A tensor that says it is on `REMOTE`; ``numpy`` refuses it as it does one on a GPU."""

    here: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: type["RemoteTensor"], here: Tensor) -> "RemoteTensor":
        """Wrap the numbers that are kept on the processor."""
        layout = {"strides": here.stride(), "storage_offset": here.storage_offset()}
        made: RemoteTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, here.shape, dtype=here.dtype, device=REMOTE, **layout
        )
        made.here = here
        return made

    def new_tensor(self, data: Any) -> Tensor:  # type: ignore[override]
        """Return numbers on this device; torch's own does not ask `Remote`."""
        return torch.as_tensor(data, dtype=self.dtype).to(REMOTE)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class Remote(TorchDispatchMode):
    """While it is on, tensors can be made on `REMOTE` and taken there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute on the processor what a GPU would compute; refuse what it would refuse.

    A GPU's operations take single numbers, and indices in brackets, from the processor's memory.
    """
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    remote = [isinstance(tensor, RemoteTensor) for tensor in tensors]
    checked = tensors[:1] if func in INDEXING and remote[0] else tensors
    mixed = any(t.dim() > 0 and not isinstance(t, RemoteTensor) for t in checked)
    if any(remote) and mixed and func not in COPIES:
        raise RuntimeError(f"{func}: tensors on the processor and on another device")
    device = kwargs.get("device")
    there = any(remote) if device is None else device.type == REMOTE.type
    if func is ATEN.copy_.default:
        there = remote[0]
    given = kwargs if device is None else {**kwargs, "device": torch.device("cpu")}
    plain = tree_map(lambda x: x.here if isinstance(x, RemoteTensor) else x, (args, given))
    found = func(*plain[0], **plain[1])
    if not there:
        return found
    wrapped = tree_map(lambda x: RemoteTensor(x) if isinstance(x, Tensor) else x, found)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)
