"""What losses, datasets, models, claims and statistics are called in figures and reports.

Titles of losses and statistics stand in their files. Those of datasets, models and claims stand in
config/, which jobs do not read: the plan hands them over, and `called` makes them known while
something is written or drawn, as matplotlib does with its style.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from pesloss.job.code_digest import constants
from pesloss.spec.names import LAST, Names, plain_name
from pesloss.spec.run import BASE

PACKAGE = Path(__file__).parents[1]
MEASURES = PACKAGE / "claims" / "measures"
WITHOUT_FILE = {"several": "several data sets"}
NO_NAMES = Names()
_NAMES: ContextVar[Names] = ContextVar("names", default=NO_NAMES)


@contextmanager
def called(names: Names) -> Iterator[None]:
    """Call datasets, models and claims by their titles inside; outside by their plain names."""
    before = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(before)


def titles(folder: str) -> dict[str, str]:
    """Return the ``TITLE`` of every file of a folder of the package, by ``PLACE`` and name.

    Files without a title are called by their name.
    """
    found = {path.stem: constants(path) for path in (PACKAGE / folder).glob("[!_]*.py")}
    order = sorted(found, key=lambda name: (found[name].get("PLACE", LAST), name))
    return {name: str(found[name].get("TITLE", plain_name(name))) for name in order}


LOSSES = titles("losses/energy")
STATISTICS = titles("claims/measures")
FIGURES = titles("report/figures")
PHASES = {"beta_tin": "β-tin"}


def loss(name: str) -> str:
    """Return the label of a loss; ``energy+forces`` names both terms."""
    if "+" in name:
        energy, forces = name.split("+", 1)
        return f"{loss(energy)}, forces {loss(forces)}"
    return LOSSES.get(name, plain_name(name))


def losses(names: Iterable[str]) -> list[str]:
    """Return distinct losses in the order of their places."""
    return ordered(names, LOSSES)


def datasets(names: Iterable[str]) -> list[str]:
    """Return distinct datasets in the order of their places."""
    return ordered(names, {**_NAMES.get().datasets, **WITHOUT_FILE})


def models(names: Iterable[str]) -> list[str]:
    """Return distinct models in the order of their places."""
    return ordered(names, _NAMES.get().models)


def model(name: str) -> str:
    """Return the title of a model."""
    return _NAMES.get().models.get(name, name)


def dataset(name: str, trained: str = "") -> str:
    """Return the title of a dataset, with the trained model where it is not the usual one."""
    known = {**WITHOUT_FILE, **_NAMES.get().datasets}
    title = known.get(name, plain_name(name))
    return title if trained in ("", "schnet") else f"{title}, {model(trained)}"


def trained(name: str, variant: str) -> str:
    """Return the name of a model, of another length of training too; the usual one unchanged."""
    if not variant.startswith("n_steps="):
        return name
    steps = setting(variant)
    return steps if name == "schnet" else f"{model(name)}, {steps}"


def setting(variant: str) -> str:
    """Return changed settings in words: ``n_steps=3000`` as ``3,000 steps``; empty for none."""
    return "" if variant in ("", BASE) else ", ".join(map(_setting, variant.split(",")))


def _setting(change: str) -> str:
    key, _, value = change.partition("=")
    steps = key == "n_steps"
    return f"{int(value):,} steps" if steps else change.replace("_", " ").replace("=", " ")


def statistic(name: str, options: str = "") -> str:
    """Return a statistic in words, with its options (``key=value`` separated by spaces)."""
    words = [STATISTICS.get(name, plain_name(name))]
    words += [option(name, chosen) for chosen in options.split()]
    return " ".join(word for word in words if word)


def option(name: str, chosen: str) -> str:
    """Return an option of a statistic in its ``WORDS``; one that has none as it is written."""
    return str(of_statistic(name).get("WORDS", {}).get(chosen, chosen))


def of_statistic(name: str) -> Mapping[str, Any]:
    """Return what the file of a statistic says at its top; nothing where there is none."""
    path = MEASURES / f"{name}.py"
    return constants(path) if path.is_file() else {}


def phase(name: str) -> str:
    """Return the label of a phase."""
    return PHASES.get(name, plain_name(name))


def claim(name: str) -> str:
    """Return a claim's number and sentence."""
    return f"{name} {_NAMES.get().claims.get(name, '')}".strip()


def ordered(names: Iterable[str], known: Mapping[str, Any]) -> list[str]:
    """Return distinct names: those in ``known`` in its order, then the others by name."""
    order = {name: place for place, name in enumerate(known)}
    return sorted(set(names), key=lambda name: (order.get(name, len(order)), name))
