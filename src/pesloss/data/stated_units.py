"""Units that a file states itself, against those of the card."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.data.label_units import Labels

ENERGIES = {
    "eV": ("ev", "electronvolt"),
    "meV": ("mev",),
    "Hartree": ("hartree", "hartrees", "ha", "eh", "e_h"),
    "Ry": ("ry", "rydberg", "rydbergs"),
    "kcal/mol": ("kcal/mol", "kcalmol", "kcalpermol"),
    "kJ/mol": ("kj/mol", "kjmol", "kjpermol"),
}
LENGTHS = {
    "Angstrom": ("angstrom", "angstroms", "ang", "a", "å", "aa"),
    "Bohr": ("bohr", "bohrs", "a0", "a_0"),
}
ENERGY_NAMES = {name: unit for unit, names in ENERGIES.items() for name in names}
LENGTH_NAMES = {name: unit for unit, names in LENGTHS.items() for name in names}
PER_ATOM = "/atom"
ENERGY_KEYS = {"energy", "energies", "totalenergy"}
FORCES_KEYS = {"forces", "force"}
LENGTH_KEYS = {"distance", "distances", "length", "position", "positions", "coordinates"}
MENTIONED = re.compile(r"\b(hartree|bohr|rydberg|kcal/mol|kj/mol)s?\b", re.IGNORECASE)

Leaf = tuple[str, str]


def units_conflict(stated: Mapping[str, Any], labels: Labels) -> str | None:
    """Say which unit that is stated is not the card's; None where none contradicts it.

    Parameters
    ----------
    stated
        Metadata of a file or values of a frame, nested as they may be: ``energy_unit: Hartree``,
        ``units: {energy: Hartree}`` or a mapping from the label's own key, as SchNetPack's.
    labels
        Keys and units of the card.
    """
    leaves = list(_leaves(stated))
    found = (
        _energy_conflict(path, text, labels)
        if _is_about(path, leaves, labels.energy, ENERGY_KEYS) and _energy(text)[0]
        else _length_conflict(path, text, labels)
        if _is_about(path, leaves, None, LENGTH_KEYS) and _word(text) in LENGTH_NAMES
        else _forces_conflict(path, text, labels)
        if _is_about(path, leaves, labels.forces, FORCES_KEYS) and _forces(text)
        else None
        for path, text in leaves
    )
    return next(filter(None, found), None)


def _energy_conflict(path: str, text: str, labels: Labels) -> str | None:
    energy, per_atom = _energy(text)
    if energy != labels.energy_unit:
        return f"{path} is {text!r} in the file, energy_unit {labels.energy_unit!r} in the card"
    if per_atom and not labels.energy_per_atom:
        return f"{path} is {text!r} in the file, energy_per_atom is not true in the card"
    return None


def _length_conflict(path: str, text: str, labels: Labels) -> str | None:
    if LENGTH_NAMES[_word(text)] == labels.length_unit:
        return None
    return f"{path} is {text!r} in the file, length_unit {labels.length_unit!r} in the card"


def _forces_conflict(path: str, text: str, labels: Labels) -> str | None:
    wanted = labels.forces_unit or f"{labels.energy_unit}/{labels.length_unit}"
    if labels.forces is None or _forces(text) == wanted:
        return None
    return f"{path} is {text!r} in the file, the unit of forces {wanted!r} in the card"


def units_mentioned(stated: Mapping[str, Any], labels: Labels) -> list[str]:
    """Return remarks on words for units in free text that are not among the card's units."""
    wanted = f"{labels.energy_unit} {labels.length_unit} {labels.forces_unit or ''}".lower()
    return [
        f"{path} mentions {found[0]!r}; energy_unit is {labels.energy_unit!r}, length_unit is "
        f"{labels.length_unit!r}"
        for path, text in _leaves(stated)
        for found in [MENTIONED.search(text)]
        if found and found[1].lower() not in wanted and _word(text) not in ENERGY_NAMES
    ]


def _leaves(stated: Mapping[str, Any], above: str = "") -> Iterator[Leaf]:
    for key, value in stated.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.")
        elif isinstance(value, str):
            yield path, value


def _is_about(path: str, leaves: list[Leaf], own: str | None, keys: set[str]) -> bool:
    """Tell whether a statement is about a label: by its own key, else by its usual names."""
    subject = _subject(path)
    if own is not None and any(_subject(other) == own for other, _ in leaves):
        return subject == own
    return subject == "" or re.sub(r"[^a-z]", "", subject.lower()) in keys


def _subject(path: str) -> str:
    """Return what the last part of a path is about: the unit of it, or nothing in particular."""
    return re.sub(r"_?units?_?", "", path.rpartition(".")[2], flags=re.IGNORECASE)


def _word(text: str) -> str:
    return "".join(text.lower().split())


def _energy(text: str) -> tuple[str | None, bool]:
    word = _word(text)
    return ENERGY_NAMES.get(word.removesuffix(PER_ATOM)), word.endswith(PER_ATOM)


def _forces(text: str) -> str | None:
    energy, _, length = _word(text).rpartition("/")
    if energy not in ENERGY_NAMES or length not in LENGTH_NAMES:
        return None
    return f"{ENERGY_NAMES[energy]}/{LENGTH_NAMES[length]}"
