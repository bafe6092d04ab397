"""The losses of published training codes, one file a code, found by file name.

A file holds a dictionary ``PRESETS`` of names and `Preset`. Sources are those of the survey that
the project started from, read at the version given.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from pesloss.job.errors import wrong_value
from pesloss.losses.terms import EnergyForceLoss


@dataclass(frozen=True)
class Preset:
    """The energy and force terms of a code as it ships.

    Attributes
    ----------
    loss
        With the code's default weights, in eV and Å unless ``unit`` says otherwise.
    code, version, source
        Where it was read.
    exponent
        p: the squared energy error counts as N^−p.
    note
        What the code does beside, and what a user has to supply.
    """

    loss: EnergyForceLoss
    code: str
    version: str
    source: str
    exponent: float
    note: str = ""


def presets() -> dict[str, Preset]:
    """Return all presets by name, in the order of names."""
    files = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    found: dict[str, Preset] = {}
    for name in files:
        found.update(import_module(f"{__name__}.{name}").PRESETS)
    return dict(sorted(found.items()))


def preset(name: str) -> EnergyForceLoss:
    """Return the loss of a published code.

    Raises
    ------
    PeslossError
        For a name there is no preset of; the message lists those there are.
    """
    known = presets()
    if name not in known:
        raise wrong_value("pesloss/losses/presets", "preset", name, known)
    return known[name].loss


def table() -> str:
    """Return the presets as a table in Markdown."""
    lines = [
        "| preset | code | energy term + force term | p | source | note |",
        "|---|---|---|--:|---|---|",
    ]
    for name, entry in presets().items():
        formula = entry.loss.formula.replace("|", "\\|")
        lines.append(
            f"| `{name}` | {entry.code} {entry.version} | {formula} | {entry.exponent:g} "
            f"| {entry.source} | {entry.note} |"
        )
    return "\n".join(lines) + "\n"
