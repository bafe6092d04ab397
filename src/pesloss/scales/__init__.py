"""Means and scales of local energies and forces, and how they are estimated (science.md §4).

The names of `__all__` are loaded when they are first used: what only reads scales depends on no
estimator. Their types are in ``__init__.pyi``.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "EnergyStandardizer": "energy",
    "ForceStandardizer": "forces",
    "Scales": "scales",
    "fit_structures": "training_set",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
