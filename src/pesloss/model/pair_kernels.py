"""Loops over neighbour pairs in C.

Where there is no compiler, `load` returns None and `pesloss.model.messages` computes the same in
torch.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pesloss.model import compiled
from pesloss.model.devices import CPU

SOURCE = Path(__file__).with_suffix(".c")
OPERANDS = {
    "scalar_g": 3,
    "scalar_w": 3,
    "vector_g": 4,
    "vector_x": 4,
    "vector_w": 4,
    "vector_u": 4,
}


@cache
def load(dtype: torch.dtype) -> dict[str, Any] | None:
    """Return the loops for tensors of ``dtype``; None where they cannot be compiled or loaded."""
    try:
        library = compiled.library([SOURCE], dtype)
    except compiled.NotCompiled:
        return None
    loops = {name: getattr(library, name) for name in OPERANDS}
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    for name, loop in loops.items():
        loop.argtypes = [*[integer] * 3, pointer, pointer, *[pointer, integer] * OPERANDS[name]]
        loop.restype = None
    return loops


def described(device: torch.device = CPU) -> str:
    """Say in a few words how sums over pairs are computed on a device, and why not in C."""
    if device.type != "cpu":
        return "torch"
    if load(torch.float32):
        return "compiled C"
    try:
        compiled.library([SOURCE], torch.float32)
    except compiled.NotCompiled as reason:
        return f"torch, for want of compiled loops ({reason})"
    return "torch"
