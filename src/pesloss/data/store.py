"""Structures on disk: extended XYZ with units and recipe inside, checked on reading."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import atomic_numbers

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import write_text
from pesloss.job.surroundings import pass_on

UNITS = {"energy_unit": "eV", "forces_unit": "eV/Ang"}
NO_FORCES = "none"  # in place of their unit, in a dataset of energies alone
TEXT_KEYS = ("structure", "group", "phase")


def write_structures(
    path: Path | str, structures: Sequence[Atoms], recipe: Mapping[str, Any]
) -> None:
    """Write structures as extended XYZ, whole or not at all.

    Parameters
    ----------
    path
        File to write.
    structures
        Each with energy (eV), forces (eV/Å), if it has any, and the info keys structure, group
        and phase;
        coordinates are stored with eight decimals, energies exactly.
    recipe
        How they were made; written, with their number, into the first frame.
    """
    frames = [_framed(atoms) for atoms in structures]
    if frames:
        frames[0].info.update(n_structures=len(frames), recipe=_escaped(dict(recipe)))
    text = io.StringIO()
    if frames:  # a part may have no families
        ase.io.write(text, frames, format="extxyz")
    write_text(path, text.getvalue())


def _escaped(value: Any, old: str = "\\", new: str = "%5C") -> Any:
    """Replace backslashes, which extended XYZ does not give back, in every text."""
    if isinstance(value, dict):
        return {key: _escaped(item, old, new) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item, old, new) for item in value]
    return value.replace(old, new) if isinstance(value, str) else value


def _framed(atoms: Atoms) -> Atoms:
    frame: Atoms = atoms.copy()
    frame.info = {key: str(atoms.info[key]) for key in TEXT_KEYS} | UNITS
    if "forces" not in atoms.calc.results:
        frame.info["forces_unit"] = NO_FORCES
    frame.calc = atoms.calc
    return frame


def read_structures(path: Path | str, may_be_empty: bool = False) -> list[Atoms]:
    """Read structures written by ``write_structures``.

    Returns
    -------
    Atoms with energy (eV) and forces (eV/Å) in a calculator, ``info`` keys structure, group and
    phase, the array ``local_energy`` (eV) where the potential has one, and in the first one's
    ``info`` the recipe.

    Raises
    ------
    PeslossError
        One line: the file is missing, truncated or foreign, an element is unknown, or an energy
        or force is missing or not finite.
    """
    text = _text(path)
    if may_be_empty and not text:
        return []
    try:
        frames = list(ase.io.iread(io.StringIO(text), index=":", format="extxyz"))
    except KeyError as error:
        raise _unknown(path, str(error.args[0])) from None
    except Exception as error:  # ASE's parser has no exception of its own for every mistake
        pass_on(error, path)
        reason = " ".join(str(error).split())
        raise PeslossError(
            f"{path}: truncated or not extended XYZ ({reason}); delete it and run again"
        ) from None
    _check_whole(path, text, frames)
    for frame in frames:
        _check_frame(path, frame)
    if "recipe" in frames[0].info:
        frames[0].info["recipe"] = _escaped(frames[0].info["recipe"], "%5C", "\\")
    return frames


def _text(path: Path | str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (MemoryError, OSError) as error:
        pass_on(error, path)
        raise
    except UnicodeDecodeError:
        raise PeslossError(f"{path}: not extended XYZ (binary); delete it and run again") from None


def _unknown(path: Path | str, name: str) -> PeslossError:
    if name.strip().isalnum() and name not in atomic_numbers:
        return wrong_value(str(path), "species", name, "symbols of the chemical elements")
    return PeslossError(f"{path}: truncated or not extended XYZ ({name!r}); delete it, run again")


def _check_whole(path: Path | str, text: str, frames: Sequence[Atoms]) -> None:
    if not frames or "n_structures" not in frames[0].info:
        raise PeslossError(f"{path}: key 'n_structures' is missing; needed in the first frame")
    expected = frames[0].info["n_structures"]
    if len(frames) != expected or not text.endswith("\n"):
        raise wrong_value(
            str(path), "number of structures", len(frames), f"{expected}, each of them whole"
        )


def _check_frame(path: Path | str, frame: Atoms) -> None:
    for key in TEXT_KEYS:
        if key not in frame.info:
            raise PeslossError(f"{path}: key {key!r} is missing; needed: {', '.join(TEXT_KEYS)}")
        frame.info[key] = str(frame.info[key])
    where = f"{path}: structure {frame.info['structure']}"
    without = frame.info.get("forces_unit") == NO_FORCES
    for key, unit in UNITS.items():
        if frame.info.get(key) != unit and not (without and key == "forces_unit"):
            raise wrong_value(where, key, frame.info.get(key), unit)
    results = frame.calc.results if frame.calc is not None else {}
    for key in ("energy",) if without else ("energy", "forces"):
        if not np.isfinite(np.asarray(results.get(key, np.nan), dtype=float)).all():
            raise wrong_value(where, key, "missing or NaN", "finite numbers")


def with_forces(structures: Sequence[Atoms]) -> list[Atoms]:
    """Return the structures when all of them have forces, else none."""
    complete = all("forces" in atoms.calc.results for atoms in structures)
    return list(structures) if complete else []


def structure_table(structures: Sequence[Atoms]) -> pd.DataFrame:
    """Tabulate structures, one row each.

    Returns
    -------
    Columns structure, group, phase, n_atoms, energy (eV) and the number of atoms of each species
    as ``n_H``, ``n_C``, … in the order of atomic numbers.
    """
    rows = [
        {
            **{key: atoms.info[key] for key in TEXT_KEYS},
            "n_atoms": len(atoms),
            "energy": float(atoms.get_potential_energy()),
        }
        for atoms in structures
    ]
    return table_of(pd.DataFrame(rows), [_counts(atoms) for atoms in structures])


def _counts(atoms: Atoms) -> dict[str, int]:
    return dict(Counter(map(str, atoms.symbols)))


def table_of(rows: pd.DataFrame, counts: Sequence[Mapping[str, int]]) -> pd.DataFrame:
    """Append the count columns ``n_<Symbol>`` in the order of atomic numbers."""
    found = sorted({symbol for count in counts for symbol in count}, key=atomic_numbers.__getitem__)
    columns = {f"n_{symbol}": [count.get(symbol, 0) for count in counts] for symbol in found}
    return rows.assign(**columns)
