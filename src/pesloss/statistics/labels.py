"""Labels in standardised units, structure by structure and species by species."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import chemical_symbols

from pesloss.data.store import with_forces
from pesloss.job.errors import wrong_value
from pesloss.job.files import same_structures
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.statistics.tail import TAIL

HISTOGRAM_EDGES = np.linspace(-6, 6, 61)


def label_table(
    table: pd.DataFrame, splits: pd.DataFrame, statistics: DatasetStatistics
) -> pd.DataFrame:
    """Return one row a structure: its groups, and its energy in standardised units.

    Parameters
    ----------
    table
        Structure table of the dataset (structure, group, phase, n_atoms, energy, n_X …).
    splits
        Columns structure and split.
    statistics
        Those of the training split.

    Returns
    -------
    DataFrame
        ``energy_deviation`` = E − Σ μ_z in eV, ``energy_scale`` = sqrt(Σ σ_z²) in eV and
        ``standardized_energy``, their ratio E' (science.md §1).

    Raises
    ------
    PeslossError
        When table and splits are not of the same structures, or a structure holds a species that
        the training split lacks, naming both.
    """
    whose = statistics.dataset
    same_structures(
        splits.structure, f"{whose}: splits", table.structure, f"{whose}: table of structures"
    )
    _check_species(table, statistics)
    merged = table.merge(splits, on="structure", validate="one_to_one")
    composition = statistics.composition(merged)
    deviation = statistics.deviation(merged.energy.to_numpy(float), composition)
    scale = statistics.energy_scale(composition)
    labels = merged[["structure", "group", "phase", "split", "n_atoms"]].copy()
    labels["size_group"] = statistics.size_group(merged.n_atoms.to_numpy())
    labels["composition_group"] = statistics.composition_group(composition)
    labels["energy_deviation"] = deviation
    labels["energy_scale"] = scale
    labels["standardized_energy"] = deviation / scale
    return labels


def _check_species(table: pd.DataFrame, statistics: DatasetStatistics) -> None:
    counts = [c for c in table.columns if c.startswith("n_") and c != "n_atoms"]
    for column in sorted(set(counts) - set(statistics.count_columns)):
        holders = table.structure[table[column] > 0]
        if len(holders):
            where = f"{statistics.dataset}: structure {holders.iloc[0]}"
            raise wrong_value(where, "species", column.removeprefix("n_"), statistics.species)


def force_label_table(structures: Sequence[Atoms], statistics: DatasetStatistics) -> pd.DataFrame:
    """Return one row a structure and species: moments of ``F' = F/η_z`` over its components.

    Returns
    -------
    DataFrame
        ``n_components``, ``mean_square`` of F', and ``n_tail``, the components beyond ±2.576.
    """
    structures = with_forces(structures)
    if not structures:
        return pd.DataFrame(
            columns=["structure", "species", "n_components", "mean_square", "n_tail"]
        )
    frame = _components(structures, statistics)
    grouped = frame.groupby(["structure", "species"], sort=False)
    return grouped.agg(
        n_components=("square", "count"), mean_square=("square", "mean"), n_tail=("tail", "sum")
    ).reset_index()


def force_histogram(structures: Sequence[Atoms], statistics: DatasetStatistics) -> pd.DataFrame:
    """Return counts of the components of F' by species in the bins of ``HISTOGRAM_EDGES``."""
    rows: list[tuple[str, float, float, int]] = []
    edges, structures = HISTOGRAM_EDGES, with_forces(structures)
    frame = _components(structures, statistics) if structures else pd.DataFrame()
    for species, values in frame.groupby("species").value if len(frame) else ():
        inside = np.clip(values, edges[0], edges[-1])
        counts, _ = np.histogram(inside, edges)
        rows += list(zip([str(species)] * len(counts), edges[:-1], edges[1:], counts, strict=True))
    return pd.DataFrame(rows, columns=["species", "low", "high", "count"])


def _components(structures: Sequence[Atoms], statistics: DatasetStatistics) -> pd.DataFrame:
    """Return one row a component of F'; species unknown to the training split are left out."""
    scale = dict(zip(statistics.species, statistics.force_scale, strict=True))
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    forces = np.concatenate([atoms.get_forces() for atoms in structures])
    owner = [str(atoms.info["structure"]) for atoms in structures for _ in range(len(atoms))]
    species = np.array([chemical_symbols[z] for z in numbers])
    known = np.isin(species, list(scale))
    value = (forces[known] / np.array([scale[s] for s in species[known]])[:, None]).ravel()
    return pd.DataFrame(
        {
            "structure": np.repeat(np.array(owner)[known], 3),
            "species": np.repeat(species[known], 3),
            "value": value,
            "square": value**2,
            "tail": np.abs(value) > TAIL,
        }
    )
