"""Fit the statistics of a dataset's training split."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from pesloss.data.isolated import compared_with_means
from pesloss.data.store import with_forces
from pesloss.job.errors import PeslossError
from pesloss.job.files import same_structures
from pesloss.scales.checks import check_enough
from pesloss.scales.energy import EnergyStandardizer
from pesloss.scales.forces import ForceStandardizer
from pesloss.statistics.dataset import (
    SMALLEST_FORCE_SCALE,
    DatasetStatistics,
    richest_species,
    size_edges,
)

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
        Naming the dataset, when the inputs are not of the same structures, or the training split is
        empty or cannot be fitted: too few structures, energies that the means fit exactly (all
        zero, for one), forces that are all zero on a species.
    """
    try:
        return _fit_statistics(dataset, table, splits, structures)
    except PeslossError as error:
        raise PeslossError(f"{dataset}: {error}") from None


def _fit_statistics(
    dataset: str, table: pd.DataFrame, splits: pd.DataFrame, structures: Sequence[Atoms]
) -> DatasetStatistics:
    same_structures(splits.structure, "splits", table.structure, "table of structures")
    if structures:
        found = [atoms.info["structure"] for atoms in structures]
        same_structures(found, "structures.extxyz", table.structure, "table of structures")
    names = splits.structure[splits.split == "train"]
    train = table[table.structure.isin(names)]
    if train.empty:
        raise PeslossError("split 'train' is empty; statistics need at least 1 structure")
    columns = [c for c in table if str(c).startswith("n_") and c != "n_atoms"]
    used = [c for c in columns if train[c].sum() > 0]
    species = tuple(str(c).removeprefix("n_") for c in used)
    composition, energy = train[used].to_numpy(float), train.energy.to_numpy(float)
    groups = train["group"].astype(str).to_numpy(dtype=str)
    fitted = EnergyStandardizer().fit(composition, energy, species, groups)
    scale = fitted.species_scale()
    _check_spread(energy, composition, scale)
    check_enough(composition, species, "split 'train'")
    chosen = set(names)
    trained = [a for a in with_forces(structures) if a.info["structure"] in chosen]
    forces = _fit_forces(species, trained)
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


def compared_with_references(fitted: DatasetStatistics, structures: Sequence[Atoms]) -> list[str]:
    """Compare μ_z with the energies of isolated atoms that the dataset's files had, in sentences.

    Parameters
    ----------
    fitted
        Statistics of the training split.
    structures
        Of the dataset; the recipe in the first one's ``info`` holds the energies, if any, in eV.
    """
    recipe = structures[0].info.get("recipe", {}) if structures else {}
    found = recipe.get("reference_energies", {})
    return compared_with_means(found, fitted.species, fitted.mean, fitted.mean_se)


def _check_spread(
    energy: NDArray[np.float64], composition: NDArray[np.float64], scale: NDArray[np.float64]
) -> None:
    """Refuse energies that one number for each species explains to rounding."""
    if scale.min() > ROUNDING * np.abs(energy / composition.sum(axis=1)).max():
        return
    kind = "zero" if not energy.any() else "fitted exactly by means of the species"
    raise PeslossError(
        f"split 'train': all {len(energy)} energies are {kind}: nothing is left to learn or to "
        "divide by; other labels or more structures are needed"
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
    species: tuple[str, ...], structures: Sequence[Atoms]
) -> tuple[tuple[float, ...], tuple[float | None, ...]]:
    if not structures:
        return (), ()
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    forces = np.concatenate([atoms.get_forces() for atoms in structures])
    owner = np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures])
    fitted = ForceStandardizer().fit(numbers, forces, owner)
    order = {int(z): i for i, z in enumerate(fitted.species_)}
    without = [symbol for symbol in species if atomic_numbers[symbol] not in order]
    if without:
        raise PeslossError(f"split 'train': no structure with {without[0]} has forces")
    chosen = [order[atomic_numbers[symbol]] for symbol in species]
    zero = [
        s for s, i in zip(species, chosen, strict=True) if fitted.scale_[i] < SMALLEST_FORCE_SCALE
    ]
    if zero:
        raise PeslossError(
            f"split 'train': forces on {', '.join(zero)} are all zero: no force scale to divide "
            "by; leave forces out of the labels, or add structures with forces"
        )
    return _tuple(fitted.scale_[chosen]), _errors(fitted.scale_se_[chosen])


def _tuple(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _errors(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    """Standard errors; none where the data do not fix the species apart."""
    return tuple(float(value) if np.isfinite(value) else None for value in values)
