"""Labels of foreign files: named by the card, in the card's units, turned into eV and Å."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress

from pesloss.data.label_units import ANGSTROM, EV, EV_PER_A3, Labels
from pesloss.data.stated_units import units_conflict
from pesloss.job.surroundings import pass_on

MOST_NAMED = 30  # keys in a message
VASP_TO_VOIGT = [0, 1, 2, 4, 5, 3]  # xx yy zz xy yz zx -> xx yy zz yz xz xy


@dataclass(frozen=True)
class LeftOut:
    """A frame that is not used, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Labelled:
    """A frame with its labels, and what there is to say of them."""

    atoms: Atoms
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Note:
    """Something to say of the file as a whole."""

    text: str


Frame = Labelled | LeftOut | Note


class BadFrame(Exception):
    """Why a frame cannot be read, in words."""


@dataclass(frozen=True)
class Raw:
    """A frame as the file has it, in the file's units."""

    atoms: Atoms
    values: Mapping[str, Any]
    """Everything that may be a label, by the file's own key."""
    extras: Mapping[str, Any]
    """Everything that may tell where the frame belongs."""


def frame_of(name: str, place: str, read_one: Callable[[], Raw], labels: Labels) -> Frame:
    """Read one frame, or say why it cannot be read.

    Parameters
    ----------
    name
        The file.
    place
        Where in the file the frame is; ``name`` and ``place`` together are its source.
    read_one
        Parses the frame; whatever it raises becomes the reason.
    labels
        Keys and units.

    Returns
    -------
    Atoms with energy (eV), forces (eV/Å) and stress (eV/Å³) in a calculator and the ``info`` keys
    source, file and whatever short values the file has; a ``source`` of the file's own is kept as
    file_source. Atomic number 0 (X, a ghost atom) is handed on, for the checks to name.
    """
    source = f"{name}{place}"
    try:
        raw = read_one()
        _check_numbers(raw.atoms.numbers)
        conflict = units_conflict(raw.extras, labels)
        if conflict:
            raise BadFrame(conflict)
        atoms = _in_angstrom(raw.atoms, labels)
        atoms.calc = SinglePointCalculator(atoms, **_results(raw, labels))
        atoms.info = _info(raw.extras, labels) | {"source": source, "file": name}
    except BadFrame as error:
        return LeftOut(source, str(error))
    except Exception as error:  # the parsers have no exception of their own for every mistake
        pass_on(error, source)
        return LeftOut(source, f"{type(error).__name__}: {' '.join(str(error).split())}"[:200])
    return Labelled(atoms, tuple(_remarks(raw.values, labels)))


def _check_numbers(numbers: npt.NDArray[np.int_]) -> None:
    known = len(chemical_symbols) - 1
    for index in np.flatnonzero((numbers < 0) | (numbers > known))[:1]:
        raise BadFrame(f"atomic number of atom {index} is {numbers[index]}; allowed: 1 to {known}")


def _remarks(values: Mapping[str, Any], labels: Labels) -> Iterable[str]:
    """Yield which label is taken where the file has several that differ in case alone."""
    for key in filter(None, (labels.energy, labels.forces, labels.stress)):
        others = [other for other in values if other != key and other.lower() == key.lower()]
        if others:
            yield f"key {key!r} is read, not {', '.join(map(repr, sorted(others)))}"


def _in_angstrom(atoms: Atoms, labels: Labels) -> Atoms:
    factor = ANGSTROM[labels.length_unit]
    return Atoms(
        numbers=atoms.numbers,
        positions=factor * atoms.positions,
        cell=factor * atoms.cell.array,
        pbc=atoms.pbc,
    )


def _results(raw: Raw, labels: Labels) -> dict[str, Any]:
    energy = _numbers(raw.values, labels.energy)
    if energy.size != 1:
        raise BadFrame(f"{labels.energy} has {energy.size} numbers instead of one")
    n_energies = len(raw.atoms) if labels.energy_per_atom else 1
    results: dict[str, Any] = {"energy": energy.item() * EV[labels.energy_unit] * n_energies}
    if labels.forces is not None and not _alone_without(labels.forces, raw):
        results["forces"] = labels.ev_per_angstrom * _numbers(raw.values, labels.forces)
    if labels.stress is not None:
        results["stress"] = _stress(_numbers(raw.values, labels.stress), labels)
    return results


def _alone_without(forces: str, raw: Raw) -> bool:
    """Tell whether this is one atom without forces, as isolated atoms are stored."""
    return len(raw.atoms) == 1 and raw.values.get(forces) is None


def _numbers(values: Mapping[str, Any], key: str) -> npt.NDArray[np.float64]:
    if values.get(key) is None:
        raise BadFrame(f"key {key!r} is missing; {keys_there(key, values)}")
    try:
        found = np.asarray(values[key])
        if found.dtype.kind in "bc":  # numpy would make numbers of them
            raise TypeError
        return found.astype(np.float64)
    except (TypeError, ValueError):
        raise BadFrame(f"{key} is no array of numbers") from None


def keys_there(key: str, values: Iterable[str]) -> str:
    """Say which keys there are, and which of them ``key`` may have meant."""
    there = sorted(values)
    near = [other for other in there if other.lower() == key.lower()]
    lower = {other.lower(): other for other in there}
    near = near or [lower[n] for n in difflib.get_close_matches(key.lower(), lower, 1, 0.75)]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
    return f"there are: {', '.join(there[:MOST_NAMED]) or 'none'}{more}{hint}"


def _stress(stress: npt.NDArray[np.float64], labels: Labels) -> npt.NDArray[np.float64]:
    sign = -1.0 if labels.stress_is_pressure else 1.0
    factor = sign * EV_PER_A3[labels.stress_unit]
    if stress.size == 9:
        voigt: npt.NDArray[np.float64] = full_3x3_to_voigt_6_stress(stress.reshape(3, 3))
        return factor * voigt
    if stress.shape != (6,):
        raise BadFrame(f"{labels.stress} has {stress.size} numbers instead of 6 or 9")
    return factor * (stress[VASP_TO_VOIGT] if labels.stress_order == "vasp" else stress)


def _info(extras: Mapping[str, Any], labels: Labels) -> dict[str, Any]:
    taken = {labels.energy, labels.forces, labels.stress}
    plain = {key: _plain(value) for key, value in extras.items() if key not in taken}
    info = {key: value for key, value in plain.items() if value is not None}
    for key in ("source", "file"):
        if key in info:
            info[f"file_{key}"] = info.pop(key)
    return info


def _plain(value: Any) -> str | int | float | bool | None:
    """Return a short value as it is, a list or mapping of such as text, anything else as None."""
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, list | tuple) and all(isinstance(v, str | int | float) for v in value):
        return ",".join(map(str, value))
    if isinstance(value, dict) and all(isinstance(v, str | int | float) for v in value.values()):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return None
