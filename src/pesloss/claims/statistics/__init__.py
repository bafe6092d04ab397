"""Statistics of claims, one file each, found by file name.

A statistic of labels has ``SCOPE = "labels"`` and ``measure(data: LabelData, options, sampling)``;
one of trained models has ``SCOPE = "runs"`` and ``measure(data: Comparison, options, sampling)``.
Both yield measurements.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from pesloss.errors import wrong_value


def names() -> list[str]:
    """Return the names of the statistics: the files of this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem[0] != "_")


def load(name: str, where: str = "claim") -> ModuleType:
    """Return the statistic of that name.

    Raises
    ------
    PeslossError
        When there is no such file; the message lists the names there are.
    """
    if name not in names():
        raise wrong_value(where, "statistic", name, names())
    return import_module(f"{__name__}.{name}")
