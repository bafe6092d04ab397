"""The one import of SchNetPack, made to work with the pinned torch."""

import typing
import warnings
from types import ModuleType

import torch.utils.data.dataloader as dataloader


def import_schnetpack() -> ModuleType:
    """Import SchNetPack 2.1.1.

    It takes ``T_co`` from ``torch.utils.data.dataloader``, where torch 2.5 and newer have none,
    and compiles a function with the deprecated ``torch.jit.script``.
    """
    if not hasattr(dataloader, "T_co"):
        dataloader.T_co = typing.TypeVar("T_co", covariant=True)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import schnetpack

    return typing.cast(ModuleType, schnetpack)
