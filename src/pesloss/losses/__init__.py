"""Losses of the energy and of the forces, one file each, found by file name.

A whole loss on a batch is in `pesloss.losses.terms`, those of published codes in
`pesloss.losses.presets`. Listing names does not load torch; losses themselves do.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pesloss.job.errors import wrong_value
from pesloss.losses.controls import is_control

if TYPE_CHECKING:
    from pesloss.losses.base import EnergyLoss, ForceLoss, PowerLoss
    from pesloss.losses.metrics import METRICS

__all__ = [
    "METRICS",
    "EnergyLoss",
    "ForceLoss",
    "PowerLoss",
    "energy_loss",
    "force_loss",
    "names",
    "size_exponent",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'metrics' if name == 'METRICS' else 'base'}"), name)


def names(term: Literal["energy", "forces"]) -> list[str]:
    """Return the names of the losses of one term, the files of its folder; controls last."""
    folder = Path(__file__).parent / term
    found = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    return sorted(found, key=lambda name: (is_control(name), name))


def energy_loss(name: str) -> "type[EnergyLoss]":
    """Return the energy loss of that name.

    Raises
    ------
    PeslossError
        When there is no such file; the message lists the names there are.
    """
    from pesloss.losses.base import EnergyLoss

    return _load("energy", name, EnergyLoss)


def size_exponent(name: str) -> float | None:
    """Return p of a loss with ``s_k² = N_k^p``; None for other energy losses."""
    from pesloss.losses.base import PowerLoss

    loss = energy_loss(name)
    return float(loss.exponent) if issubclass(loss, PowerLoss) else None


def force_loss(name: str) -> "type[ForceLoss]":
    """Return the force loss of that name; errors as ``energy_loss``."""
    from pesloss.losses.base import ForceLoss

    return _load("forces", name, ForceLoss)


def _load(term: Literal["energy", "forces"], name: str, base: type) -> type:
    if name not in names(term):
        raise wrong_value(f"pesloss/losses/{term}", "loss", name, names(term))
    found = getattr(import_module(f"pesloss.losses.{term}.{name}"), "Loss", None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise wrong_value(
            f"pesloss/losses/{term}/{name}.py",
            "Loss",
            found,
            f"a class derived from {base.__name__}",
        )
    return found
