"""Fit the statistics of a dataset's training split."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from pesloss.data.store import with_forces
from pesloss.dataset_statistics import (
    SMALLEST_FORCE_SCALE,
    DatasetStatistics,
    richest_species,
    size_edges,
)
from pesloss.errors import PeslossError
from pesloss.files import same_structures
from pesloss.statistics.energy import EnergyStandardizer
from pesloss.statistics.forces import ForceStandardizer

SMALLEST_GROUP = 30
ROUNDING = 1e-12


def fit_statistics(
    dataset: str, table: pd.DataFrame, splits: pd.DataFrame, structures: Sequence[Atoms] = ()
) -> DatasetStatistics:
    """Fit μ_z, σ_z, τ, κ and η_z on the training split and fix the groups of errors.

    Parameters
    ----------
    dataset
        Name of the dataset.
    table
        Structure table (structure, group, n_atoms, energy in eV, n_X …).
    splits
        Columns structure and split.
    structures
        The structures with forces in eV/Å; none for a dataset without geometry.

    Raises
    ------
    PeslossError
        When the inputs are not of the same structures, the training split is empty or cannot be
        fitted, or its energies have no spread or the forces on a species are all zero.
    """
    same_structures(
        splits.structure, f"{dataset}: splits", table.structure, f"{dataset}: table of structures"
    )
    if structures:
        found = [atoms.info["structure"] for atoms in structures]
        where = f"{dataset}: structures.extxyz"
        same_structures(found, where, table.structure, f"{dataset}: table of structures")
    names = splits.structure[splits.split == "train"]
    train = table[table.structure.isin(names)]
    if train.empty:
        raise PeslossError(
            f"{dataset}: split 'train' is empty; statistics need at least 1 structure"
        )
    columns = [c for c in table if str(c).startswith("n_") and c != "n_atoms"]
    used = [c for c in columns if train[c].sum() > 0]
    species = tuple(str(c).removeprefix("n_") for c in used)
    composition, energy = train[used].to_numpy(float), train.energy.to_numpy(float)
    fitted = EnergyStandardizer().fit(composition, energy, species)
    scale = fitted.species_scale()
    _check_spread(dataset, species, scale, energy / composition.sum(axis=1))
    chosen = set(names)
    trained = [a for a in with_forces(structures) if a.info["structure"] in chosen]
    forces = _fit_forces(dataset, species, trained)
    fraction = composition / composition.sum(axis=1, keepdims=True)
    mean, spread = _tuple(fraction.mean(axis=0)), _tuple(fraction.std(axis=0))
    richest = pd.Series(richest_species(composition, species, mean, spread)).value_counts()
    return DatasetStatistics(
        dataset=dataset,
        species=species,
        mean=_tuple(fitted.mean_),
        mean_se=_errors(fitted.mean_se_),
        std=_tuple(fitted.std_),
        std_se=_errors(fitted.std_se_),
        local_energy_scale=_tuple(scale),
        floored=tuple(fitted.floored_),
        unidentified=tuple(fitted.unidentified_),
        shared=_shared(composition, energy, species),
        force_scale=forces[0],
        force_scale_se=forces[1],
        size_edges=size_edges(train.n_atoms.to_numpy()),
        fraction_mean=mean,
        fraction_std=spread,
        composition_groups=tuple(sorted(richest.index[richest >= SMALLEST_GROUP])),
        n_structures=len(train),
        n_families=int(train["group"].nunique()),
    )


def _check_spread(
    dataset: str,
    species: tuple[str, ...],
    scale: NDArray[np.float64],
    energy_per_atom: NDArray[np.float64],
) -> None:
    """Refuse energies that one number for each species explains to rounding."""
    if scale.min() <= ROUNDING * np.abs(energy_per_atom).max():
        raise PeslossError(
            f"{dataset}: energies of the training split are sums of one number for each of "
            f"{', '.join(species)}, in all {len(energy_per_atom)} structures: there is no spread "
            "to scale by; correct them, or take more structures"
        )


def _shared(
    composition: NDArray[np.float64], energy: NDArray[np.float64], species: tuple[str, ...]
) -> dict[str, Any]:
    """Fit κ and one τ beside σ_z, and ask whether the labels want them."""
    fitted = EnergyStandardizer(shared="one").fit(composition, energy, species)
    return {
        "kappa": float(fitted.structure_std_),
        "tau": float(fitted.shared_std_[0]),
        "std": list(_tuple(fitted.std_)),
        "std_se": list(_errors(fitted.std_se_)),
        "likelihood_ratio_tests": [test._asdict() for test in fitted.tests_],
    }


def _fit_forces(
    dataset: str, species: tuple[str, ...], structures: Sequence[Atoms]
) -> tuple[tuple[float, ...], tuple[float | None, ...]]:
    if not structures:
        return (), ()
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    forces = np.concatenate([atoms.get_forces() for atoms in structures])
    owner = np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures])
    fitted = ForceStandardizer().fit(numbers, forces, owner)
    order = {int(z): i for i, z in enumerate(fitted.species_)}
    chosen = [order[atomic_numbers[symbol]] for symbol in species]
    zero = [
        s for s, i in zip(species, chosen, strict=True) if fitted.scale_[i] < SMALLEST_FORCE_SCALE
    ]
    if zero:
        raise PeslossError(
            f"{dataset}: forces on {', '.join(zero)} are zero in all of the training split, so "
            "they have no scale; correct them, or leave them out: energies alone have statistics"
        )
    return _tuple(fitted.scale_[chosen]), _errors(fitted.scale_se_[chosen])


def _tuple(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _errors(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    """Standard errors; none where the data do not fix the species apart."""
    return tuple(float(value) if np.isfinite(value) else None for value in values)
