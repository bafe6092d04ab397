"""The one import of SchNetPack, made to work with the pinned torch."""

import importlib
import importlib.util
import sys
import typing
import warnings
from types import ModuleType, SimpleNamespace

import torch.utils.data.dataloader as dataloader

NAME = "schnetpack"
# What the potentials are made of. The package's own __init__ files also import Lightning, hydra
# and sympy, which take three times as long as torch does.
PARTS = {
    "nn": ("activations", "base", "blocks", "cutoff", "scatter", "radial", "utils"),
    "representation": ("schnet", "painn"),
    "atomistic": ("atomwise",),
}


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


def import_networks() -> typing.Any:
    """Import the networks of SchNetPack alone: ``nn``, ``representation``, ``atomistic``.

    The modules are SchNetPack's, read without the packages' ``__init__``. They are left out of
    ``sys.modules``, so that a later import of the whole package finds nothing half-made.
    """
    if NAME in sys.modules:
        return import_schnetpack()
    found = importlib.util.find_spec(NAME)
    if found is None or not found.submodule_search_locations:
        return import_schnetpack()  # fails as an import does
    root = found.submodule_search_locations[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _networks(root)
    finally:
        for name in [n for n in sys.modules if n == NAME or n.startswith(f"{NAME}.")]:
            del sys.modules[name]


def _networks(root: str) -> SimpleNamespace:
    package = _stand_in(NAME, root)
    properties = importlib.import_module(f"{NAME}.properties")
    parts = {name: _stand_in(f"{NAME}.{name}", f"{root}/{name}") for name in PARTS}
    for name, part in parts.items():
        setattr(package, name, part)
        for module in PARTS[name]:
            content = vars(importlib.import_module(f"{NAME}.{name}.{module}"))
            vars(part).update({key: content[key] for key in content.get("__all__", ())})
    return SimpleNamespace(properties=properties, **parts)


def _stand_in(name: str, folder: str) -> ModuleType:
    package = ModuleType(name)
    package.__path__ = [folder]
    sys.modules[name] = package
    return package
