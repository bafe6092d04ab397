"""Fit the scales of a loss to arrays or to structures."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray

from pesloss.errors import PeslossError
from pesloss.scales import Scales
from pesloss.statistics.checks import check_enough
from pesloss.statistics.energy import EnergyStandardizer
from pesloss.statistics.forces import ForceStandardizer

Array = NDArray[np.float64]


def fit_scales(
    composition: ArrayLike,
    energy: ArrayLike,
    species: Sequence[str],
    numbers: ArrayLike | None = None,
    forces: ArrayLike | None = None,
) -> Scales:
    """Estimate means and scales from a training set.

    Parameters
    ----------
    composition, energy
        (S, Z) counts and (S,) total energies.
    species
        Z chemical symbols, the columns of ``composition``.
    numbers, forces
        (A,) atomic numbers and (A, 3) forces of all atoms; without them there is no η_z.

    Raises
    ------
    PeslossError
        When the data are empty, not finite, of shapes that do not fit, too few, or leave no spread.
    """
    plain = EnergyStandardizer().fit(composition, energy, species)
    scale = _positive(plain.species_scale())
    check_enough(composition, species, "scales")
    shared = EnergyStandardizer(shared="one").fit(composition, energy, species)
    eta: tuple[float, ...] = ()
    if forces is not None and numbers is not None:
        fitted = ForceStandardizer().fit(numbers, forces)
        eta = _floats(fitted.scale([atomic_numbers[symbol] for symbol in species]))
    return Scales(
        species=tuple(species),
        mean=_floats(plain.mean_),
        local_energy_scale=_floats(scale),
        correlated_scale=_floats(shared.std_),
        shared_scale=_floats(shared.shared_std_),
        structure_scale=float(shared.structure_std_),
        force_scale=eta,
    )


def fit_structures(
    structures: Sequence[Atoms], energy_key: str | None = None, forces_key: str | None = None
) -> Scales:
    """Estimate means and scales from labelled structures.

    Parameters
    ----------
    structures
        Structures with energies; where one has no forces there is no η_z.
    energy_key, forces_key
        Names in ``info`` and ``arrays``; without them the calculator's results are used.

    Raises
    ------
    PeslossError
        Naming the first structure without an energy; else as `fit_scales`.
    """
    if not structures:
        raise PeslossError("scales: no structure; at least one is needed")
    energy = [_energy(atoms, i, energy_key) for i, atoms in enumerate(structures)]
    known = [f for f in (_forces(atoms, forces_key) for atoms in structures) if f is not None]
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    present = np.unique(numbers)
    counts = np.array([[(atoms.numbers == z).sum() for z in present] for atoms in structures])
    species = [chemical_symbols[z] for z in present]
    if len(known) < len(structures):
        return fit_scales(counts, energy, species)
    return fit_scales(counts, energy, species, numbers, np.concatenate(known))


def _energy(atoms: Atoms, place: int, key: str | None) -> float:
    value = atoms.info.get(key) if key else _results(atoms).get("energy")
    if value is None:
        name = f"info[{key!r}]" if key else "the calculator's energy"
        raise PeslossError(f"structure {place}: {name} is missing; info has {sorted(atoms.info)}")
    return float(value)


def _forces(atoms: Atoms, key: str | None) -> Array | None:
    value = atoms.arrays.get(key) if key else _results(atoms).get("forces")
    return None if value is None else np.asarray(value, dtype=np.float64)


def _results(atoms: Atoms) -> dict[str, float]:
    return dict(atoms.calc.results) if atoms.calc is not None else {}


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _positive(values: Array) -> Array:
    """Refuse to standardise by zero: energies that the means fit to the last digit."""
    if not (values > 0).all():
        raise PeslossError("scales: the means fit every energy exactly; more structures are needed")
    return values
