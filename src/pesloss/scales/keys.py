"""Labels of structures as ASE reads them, under whatever keys: found, or said what there is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pesloss.job.errors import PeslossError, wrong_value

__all__ = ["Labelled", "flattened", "labelled", "once"]

GEOMETRY = ("numbers", "positions")
NESTED = ("key_value_pairs", "data")
"""Dictionaries in info, in which rows of an ASE database keep what is not the calculator's."""


@dataclass(frozen=True)
class Labelled:
    """Structures with their labels where ASE looks for them.

    Attributes
    ----------
    structures
        Copies, in the order given, with energy and, where there are any, forces in a calculator,
        and ``source``, the name of the frame, in ``info``.
    notes
        Where no frame has forces, a sentence that says so and names the columns there are.
    """

    structures: list[Atoms]
    notes: list[str]


def labelled(
    frames: Sequence[Atoms], energy_key: str | None = None, forces_key: str | None = None
) -> Labelled:
    """Find energy and forces of each frame.

    A key is looked for in ``info`` or ``arrays``, among the calculator's results, where ASE's
    reader of extended XYZ puts names such as ``energy``, ``free_energy`` and ``forces``, and in
    the ``data`` and ``key_value_pairs`` of an ASE database; without a key the calculator is asked.

    Parameters
    ----------
    frames
        As read.
    energy_key, forces_key
        Names of the labels.

    Raises
    ------
    PeslossError
        Where there is no frame, a frame has no energy, no frame has a key that was given, or a
        label is no finite number (three for each atom); the frame, the key and the keys that
        there are, are named.
    """
    if not frames:
        raise PeslossError("no structure; at least one is needed")
    copies = [flattened(atoms) for atoms in frames]
    energies = _found(copies, _Wanted("energy", energy_key, _per_frame))
    forces = _found(copies, _Wanted("forces", forces_key, _per_atom))
    notes = _about_forces(copies, forces)
    for k, atoms in enumerate(copies):
        results: dict[str, Any] = {"energy": _energy(energies.values[k], k, energies.name)}
        if forces.values[k] is not None:
            results["forces"] = _forces(forces.values[k], len(atoms), k, forces.name)
        atoms.info["source"] = f"frame {k}"
        atoms.calc = SinglePointCalculator(atoms, **results)
    return Labelled(copies, notes)


def flattened(atoms: Atoms) -> Atoms:
    """Return a copy with what a row of an ASE database keeps besides where a file would have it.

    Arrays of one number or three for each atom go to ``arrays``, all else to ``info``; nothing
    that is there is replaced.
    """
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc
    parts = [copy.info.pop(name) for name in NESTED if isinstance(copy.info.get(name), dict)]
    for key, value in [item for part in parts for item in part.items()]:
        of_atoms = np.shape(value) == (len(atoms), 3) or np.shape(value) == (len(atoms),) != (1,)
        place = copy.arrays if of_atoms else copy.info
        if key not in {*copy.arrays, *copy.info, *_results(atoms)}:
            place[key] = np.asarray(value) if of_atoms else value
    return copy


def once(atoms: Atoms) -> Atoms:
    """Return a copy whose ``info`` and ``arrays`` repeat nothing of the calculator's.

    No file can hold both.

    Raises
    ------
    PeslossError
        Naming a key that has two different values.
    """
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc
    for key, value in _results(atoms).items():
        for place in (copy.info, copy.arrays):
            if key in place and not _equal(place.pop(key), value):
                raise PeslossError(f"{key!r} is there twice, with different values; keep one")
    return copy


def _equal(one: Any, other: Any) -> bool:
    first, second = _numbers(one), _numbers(other)
    if first is None or second is None:
        return one is other
    return first.shape == second.shape and np.array_equal(first, second, equal_nan=True)


@dataclass(frozen=True)
class _Wanted:
    label: str
    key: str | None
    places: Callable[[Atoms], Mapping[str, Any]]


@dataclass(frozen=True)
class _Found:
    name: str
    values: list[Any]


def _found(frames: Sequence[Atoms], wanted: _Wanted) -> _Found:
    """Return the label of each frame, None where a frame has none that need not be there."""
    key = wanted.key or wanted.label
    name = f"{wanted.label} key {wanted.key!r}" if wanted.key else f"the calculator's {key}"
    values = [_value(atoms, wanted) for atoms in frames]
    lacking = [k for k, value in enumerate(values) if value is None]
    if len(lacking) == len(frames) and wanted.key:
        raise PeslossError(f"{name}: no frame has it; {_there_is(frames, wanted)}")
    if lacking and wanted.label == "energy":
        raise PeslossError(
            f"frame {lacking[0]}: {name} is missing, in {len(lacking)} of {len(frames)} frames; "
            f"{_there_is([frames[lacking[0]]], wanted)}"
        )
    return _Found(name, values)


def _value(atoms: Atoms, wanted: _Wanted) -> Any:
    if wanted.key:
        return wanted.places(atoms).get(wanted.key)
    return _results(atoms).get(wanted.label)


def _results(atoms: Atoms) -> dict[str, Any]:
    return dict(atoms.calc.results) if atoms.calc is not None else {}


def _per_frame(atoms: Atoms) -> dict[str, Any]:
    return {**_results(atoms), **atoms.info}


def _per_atom(atoms: Atoms) -> dict[str, Any]:
    own = {key: value for key, value in atoms.arrays.items() if key not in GEOMETRY}
    found = {**_results(atoms), **own}
    return {key: value for key, value in found.items() if np.shape(value)[:1] == (len(atoms),)}


def _there_is(frames: Iterable[Atoms], wanted: _Wanted) -> str:
    """Say which keys there are, first of all those that differ in the case of letters alone."""
    keys = sorted({str(key) for atoms in frames for key in wanted.places(atoms)})
    alike = [key for key in keys if key.lower() == (wanted.key or wanted.label).lower()]
    named = f"did you mean {' or '.join(map(repr, alike))}? " if alike else ""
    option = f" (--{wanted.label}-key names one)" if keys and not wanted.key else ""
    return f"{named}there are: {', '.join(keys) or 'none'}{option}"


def _energy(value: Any, place: int, name: str) -> float:
    number = _numbers(value)
    if number is None or number.size != 1 or not np.isfinite(number).all():
        raise wrong_value(f"frame {place}", name, value, "one finite number")
    return float(number.item())


def _forces(value: Any, n_atoms: int, place: int, name: str) -> npt.NDArray[np.float64]:
    found = _numbers(value)
    if found is None or found.shape != (n_atoms, 3):
        shape = np.shape(value) if found is None else found.shape
        raise wrong_value(f"frame {place}", f"shape of {name}", shape, f"numbers ({n_atoms}, 3)")
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if wrong.size:
        where = f"{name} on atom {wrong[0]}"
        raise wrong_value(f"frame {place}", where, found[wrong[0]].tolist(), "finite numbers")
    return found


def _numbers(value: Any) -> npt.NDArray[np.float64] | None:
    """Return an array of numbers; None for texts, truth values, complex numbers and the like."""
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None


def _about_forces(frames: Sequence[Atoms], forces: _Found) -> list[str]:
    if any(value is not None for value in forces.values):
        return []
    columns = sorted({key for atoms in frames for key in _vectors(atoms)})
    named = f"{', '.join(columns)} (--forces-key names one)" if columns else "none"
    return [f"no frame has forces: η, their scale, is left out; columns of three numbers: {named}"]


def _vectors(atoms: Atoms) -> list[str]:
    places = _per_atom(atoms)
    return [key for key, value in places.items() if np.shape(value) == (len(atoms), 3)]
