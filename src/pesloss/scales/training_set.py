"""Fit the scales of a loss to arrays or to structures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray

from pesloss.job.errors import PeslossError
from pesloss.scales.checks import check_enough
from pesloss.scales.energy import EnergyStandardizer
from pesloss.scales.forces import ForceStandardizer
from pesloss.scales.isolated_atoms import is_isolated
from pesloss.scales.keys import labelled
from pesloss.scales.scales import Scales

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
    return _fit(composition, energy, species, numbers, forces).scales


@dataclass(frozen=True)
class Fitted:
    """Scales, and the fit of means and independent scales that they hold, with its errors."""

    scales: Scales
    plain: EnergyStandardizer


def _fit(
    composition: ArrayLike,
    energy: ArrayLike,
    species: Sequence[str],
    numbers: ArrayLike | None = None,
    forces: ArrayLike | None = None,
) -> Fitted:
    plain = EnergyStandardizer().fit(composition, energy, species)
    scale = _positive(plain.species_scale())
    check_enough(composition, species, "scales")
    shared = EnergyStandardizer(shared="one").fit(composition, energy, species)
    eta: tuple[float, ...] = ()
    if forces is not None and numbers is not None:
        fitted = ForceStandardizer().fit(numbers, forces)
        eta = _floats(fitted.scale([atomic_numbers[symbol] for symbol in species]))
    scales = Scales(
        species=tuple(species),
        mean=_floats(plain.mean_),
        local_energy_scale=_floats(scale),
        correlated_scale=_floats(shared.std_),
        shared_scale=_floats(shared.shared_std_),
        structure_scale=float(shared.structure_std_),
        force_scale=eta,
    )
    return Fitted(scales, plain)


def fit_structures(
    structures: Sequence[Atoms], energy_key: str | None = None, forces_key: str | None = None
) -> Scales:
    """Estimate means and scales from labelled structures.

    Parameters
    ----------
    structures
        Structures with energies; isolated atoms (`pesloss.scales.isolated_atoms`) are left out, as
        reference energies are no data of local energies. Where one of the others has no forces
        there is no η_z.
    energy_key, forces_key
        Names of the labels, see `pesloss.scales.keys.labelled`; without them the calculator's
        results are used.

    Raises
    ------
    PeslossError
        As `labelled` and `fit_scales`, and where there are isolated atoms only.
    """
    found = labelled(structures, energy_key, forces_key).structures
    kept = [atoms for atoms in found if not is_isolated(atoms)]
    if not kept:
        raise PeslossError(f"scales: all {len(found)} structures are isolated atoms")
    return fit_all(kept).scales


def fit_all(structures: Sequence[Atoms]) -> Fitted:
    """Fit scales to structures with labels in a calculator, none of them an isolated atom.

    Raises
    ------
    PeslossError
        As `fit_scales`.
    """
    energy = [atoms.calc.results["energy"] for atoms in structures]
    forces = [atoms.calc.results.get("forces") for atoms in structures]
    return fit_atoms(
        np.concatenate([atoms.numbers for atoms in structures]),
        np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures]),
        energy,
        None if any(force is None for force in forces) else np.concatenate(forces),
    )


def fit_atoms(
    numbers: NDArray[np.integer],
    owner: NDArray[np.integer],
    energy: ArrayLike,
    forces: ArrayLike | None = None,
) -> Fitted:
    """Fit scales to structures that are given as all their atoms.

    Parameters
    ----------
    numbers, owner
        (A,) atomic numbers, and the structure of each atom, 0 to S − 1.
    energy
        (S,) total energies.
    forces
        (A, 3); without them there is no η_z.

    Raises
    ------
    PeslossError
        As `fit_scales`.
    """
    present, place = np.unique(numbers, return_inverse=True)
    shape = (np.size(energy), len(present))
    counts = np.bincount(owner * len(present) + place, minlength=shape[0] * shape[1])
    species = [str(chemical_symbols[z]) for z in present]
    return _fit(counts.reshape(shape), energy, species, numbers, forces)


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _positive(values: Array) -> Array:
    """Refuse to standardise by zero: energies that the means fit to the last digit."""
    if not (values > 0).all():
        raise PeslossError("scales: the means fit every energy exactly; more structures are needed")
    return values
