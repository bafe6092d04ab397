"""Inputs are checked once, at the border, and refused in one line."""

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from pesloss.job.errors import PeslossError, wrong_value

LARGEST = 1e100  # of an energy in any unit; the square of larger ones overflows
_METHODS = ("reml", "ridge", "nnls")
_SHARED: dict[object, str] = {False: "none", True: "one", "one": "one", "species": "species"}


def checked_composition(composition: ArrayLike, n_species: int | None = None) -> NDArray[np.number]:
    """Return the (S, Z) counts in their own numeric type, without a copy.

    Raises
    ------
    PeslossError
        When it is no table of finite, non-negative numbers, is empty, holds a structure without
        atoms or has another number of species than ``n_species``.
    """
    counts = np.asarray(composition)
    if counts.ndim != 2 or 0 in counts.shape or counts.dtype.kind not in "biuf":
        found = f"shape {counts.shape} of {counts.dtype}"
        raise wrong_value("composition", "counts", found, "a non-empty (S, Z) table of numbers")
    if n_species is not None and counts.shape[1] != n_species:
        raise wrong_value("composition", "number of species", counts.shape[1], (n_species,))
    low, high = counts.min(), counts.max()
    if not (low >= 0 and np.isfinite(high)):
        row = int(np.flatnonzero(~((counts >= 0) & np.isfinite(counts)).all(1))[0])
        allowed = "finite counts that are not negative"
        raise wrong_value("composition", f"structure {row}", counts[row].tolist(), allowed)
    empty = np.flatnonzero(~counts.any(axis=1))
    if empty.size:
        raise wrong_value("composition", f"structure {empty[0]}", "no atoms", "at least one atom")
    return counts


def checked_energy(energy: ArrayLike, n_structures: int) -> NDArray[np.float64]:
    """Return (S,) finite float64 energies.

    Raises
    ------
    PeslossError
        When the shape differs from the composition's, or an energy is not finite or beyond 1e100.
    """
    values = np.asarray(energy)
    if values.shape != (n_structures,) or values.dtype.kind not in "biuf":
        found = f"shape {values.shape} of {values.dtype}"
        raise wrong_value("energy", "values", found, f"{n_structures} numbers, one per structure")
    values = values.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise wrong_value("energy", f"structure {wrong[0]}", float(values[wrong[0]]), "finite")
    wrong = np.flatnonzero(np.abs(values) > LARGEST)
    if wrong.size:
        allowed = f"up to {LARGEST:g}"
        raise wrong_value("energy", f"structure {wrong[0]}", float(values[wrong[0]]), allowed)
    return values


def checked_groups(groups: ArrayLike | None, n_structures: int) -> NDArray[np.intp] | None:
    """Return (S,) numbers of groups from 0; None where every structure is a group of its own.

    Raises
    ------
    PeslossError
        When there are not as many labels as structures.
    """
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n_structures,):
        raise wrong_value("groups", "shape", labels.shape, f"({n_structures},)")
    found, number = np.unique(labels, return_inverse=True)
    return None if len(found) == n_structures else np.asarray(number, dtype=np.intp)


def check_enough(composition: ArrayLike, names: Sequence[str], where: str) -> None:
    """Refuse data with fewer energies beyond the means they fix than scales to estimate.

    Parameters
    ----------
    composition
        (S, Z) counts; every species occurs.
    names
        Z names for the message.
    where
        What the data are called.

    Raises
    ------
    PeslossError
        With the numbers there are and the one that is needed.
    """
    counts = np.asarray(composition, dtype=np.float64)
    fixed = int(np.linalg.matrix_rank(counts))
    left, needed = len(counts) - fixed, len(names) + 1
    if left < needed:
        raise PeslossError(
            f"{where}: {len(counts)} structures of {len(np.unique(counts, axis=0))} compositions "
            f"fix {fixed} means and leave {left} energies for {len(names)} scales "
            f"({', '.join(names)}); more structures are needed, at least {fixed + needed}"
        )


def checked_terms(method: str, shared: object) -> str:
    """Return what τ is fitted: "none", "one" or "species".

    Raises
    ------
    PeslossError
        When method or shared is unknown, or shared is asked of a method other than REML.
    """
    if method not in _METHODS:
        raise wrong_value("EnergyStandardizer", "method", method, _METHODS)
    if shared not in _SHARED:
        raise wrong_value("EnergyStandardizer", "shared", shared, "False, one, species")
    terms = _SHARED[shared]
    if terms != "none" and method != "reml":
        raise wrong_value("EnergyStandardizer", "method", method, "reml with shared")
    return terms


def species_names(species: Sequence[str | int] | None, n_species: int) -> list[str]:
    """Names for messages: symbols, symbols of atomic numbers, or "species 0", "species 1", ….

    Raises
    ------
    PeslossError
        When there are not as many species as columns, or a name occurs twice.
    """
    if species is None:
        return [f"species {index}" for index in range(n_species)]
    names = [name if isinstance(name, str) else symbol(int(name)) for name in species]
    if len(names) != n_species or len(set(names)) != n_species:
        raise wrong_value("species", "names", names, f"{n_species} different names")
    return names


def symbol(number: int) -> str:
    """Chemical symbol of an atomic number.

    Raises
    ------
    PeslossError
        When no element has this number.
    """
    if not 0 < number < len(chemical_symbols):
        raise PeslossError(f"species: atomic number is {number}; allowed: 1 to 118")
    return str(chemical_symbols[number])
