"""Loss functions for machine-learned interatomic potentials, settled by experiment.

The names of `__all__` are loaded when they are first used, so that importing the package takes no
time and torch is loaded only by what needs it. Their types are in ``__init__.pyi``.
"""

from importlib import import_module
from typing import Any

# Names of modules, not imports: rules watch what a file imports (`pesloss.job.code_digest`), and
# every file of the package is below this one.
_MODULES = ("inference", "losses", "scales")
_PLACES = {
    "EnergyForceLoss": "losses.terms",
    "EnergyStandardizer": "scales.energy",
    "Estimate": "inference",
    "ForceStandardizer": "scales.forces",
    "PeslossError": "job.errors",
    "Scales": "scales.scales",
    "decide": "inference",
    "energy_force_loss": "losses.terms",
    "exponent_of": "inference",
    "fit_exponent": "inference",
    "fit_structures": "scales.training_set",
    "power": "losses.terms",
    "preset": "losses.presets",
    "presets": "losses.presets",
    "weighted": "adapters.weights",
}

__all__ = sorted([*_MODULES, *_PLACES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
