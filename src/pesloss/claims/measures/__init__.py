"""Statistics of claims, one file each, found by file name.

A statistic of labels has ``SCOPE = "labels"`` and ``measure(data: LabelData, options, sampling)``;
one of trained models has ``SCOPE = "runs"`` and ``measure(data: Comparison, options, sampling)``.
One that needs several datasets, models or variants at once has ``SCOPE = "ablation"`` and
``measure(data: Study, options, sampling)``. All yield measurements.

What a statistic needs beside labels and errors it names: ``INPUTS``, results of a dataset such as
``"linear/{dataset}.csv"``, and ``RUN_INPUTS``, files of a run beside its record and the errors of
its structures; a table that a rule adds to a run has its manifest there too. The rules that make
them live in ``workflow/rules/ablations``. ``SUBJECT`` says what it is about, where that is neither
labels nor errors of trained models.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pesloss.job.errors import wrong_value


def names() -> list[str]:
    """Return the names of the statistics: the files of this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem[0] != "_")


def load(name: str, where: str = "claim", options: Mapping[str, Any] | None = None) -> ModuleType:
    """Return the statistic of that name.

    Parameters
    ----------
    name
        Stem of a file of this folder.
    where
        File that names it.
    options
        Options it is to be given; they are checked.

    Raises
    ------
    PeslossError
        When there is no such file, option or value; the message lists those there are.
    """
    if name not in names():
        raise wrong_value(where, "statistic", name, names())
    module = import_module(f"{__name__}.{name}")
    known = getattr(module, "OPTIONS", {})
    for key, value in (options or {}).items():
        if key not in known:
            raise wrong_value(where, f"option of {name}", key, sorted(known) or "none")
        if value not in known[key]:
            raise wrong_value(where, f"option {key} of {name}", value, known[key])
    return module
