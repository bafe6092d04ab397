"""Compositions and energies drawn from the variance model, without geometry.

``E_k = Σ_z n_kz μ_z + κ w_k + u_k Σ_z n_kz τ_z + Σ_z √n_kz σ_z v_kz`` with independent standard
normal ``w_k``, ``u_k`` and ``v_kz``: what is found in such data is known beforehand.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from pesloss.data.families import Symbol, log_uniform
from pesloss.data.store import table_of
from pesloss.specification import PositiveInt, Strict

Proportions = Literal["equal", "random"]
Counts = npt.NDArray[np.int64]


class Spread(Strict):
    """Mean and spread of the local energies of one species."""

    mu: float = Field(0.0, description="mean, eV")
    sigma: float = Field(0.0, ge=0, description="standard deviation within a structure, eV")
    tau: float = Field(0.0, ge=0, description="standard deviation between structures, eV")


SPREADS: dict[Symbol, Spread] = {
    "H": Spread(mu=-12.0, sigma=0.1),
    "C": Spread(mu=-50.0, sigma=0.8),
    "N": Spread(mu=-70.0, sigma=0.4),
    "O": Spread(mu=-105.0, sigma=1.3),
    "F": Spread(mu=-120.0, sigma=0.2),
    "S": Spread(mu=-85.0, sigma=0.6),
}


class Recipe(Strict):
    """Parameters of the variance model and of the compositions."""

    species: dict[Symbol, Spread] = Field(
        SPREADS, min_length=1, description="spread of each species"
    )
    kappa: float = Field(0.0, ge=0, description="spread that does not grow with size, eV")
    min_atoms: PositiveInt = Field(2, description="smallest structure; sizes are log-uniform")
    max_atoms: PositiveInt = Field(512, description="largest structure")
    min_species: PositiveInt = Field(1, description="fewest species in a structure")
    max_species: PositiveInt = Field(6, description="most species in a structure")
    proportions: Proportions = Field(
        "equal", description="of the species within a structure; random: Dirichlet(1)"
    )
    shuffle_sizes: bool = Field(
        False, description="permute the deviations over the structures, so that size explains none"
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Recipe":
        if self.min_atoms > self.max_atoms or self.min_species > self.max_species:
            raise ValueError("the smallest number has to be at most the largest")
        return self


def draw(recipe: Recipe, n_structures: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw a structure table of ``n_structures`` rows; every structure is its own family."""
    counts = np.array([_composition(recipe, rng) for _ in range(n_structures)])
    deviation = deviations(recipe, counts, rng)
    if recipe.shuffle_sizes:
        deviation = rng.permutation(deviation)
    mu = np.array([spread.mu for spread in recipe.species.values()])
    names = [f"label_{k:05d}" for k in range(n_structures)]
    rows = {"structure": names, "group": names, "phase": "label", "n_atoms": counts.sum(axis=1)}
    table = pd.DataFrame(rows | {"energy": counts @ mu + deviation})
    return table_of(table, [dict(zip(recipe.species, row, strict=True)) for row in counts.tolist()])


def deviations(recipe: Recipe, counts: Counts, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw how far (eV) the energies of structures are from the sum of their μ.

    Parameters
    ----------
    recipe
        The variance model.
    counts
        Atoms of each species [structure, species].
    rng
        Source of the three normal variables.
    """
    spreads = recipe.species.values()
    sigma = np.array([spread.sigma for spread in spreads])
    tau = np.array([spread.tau for spread in spreads])
    total = recipe.kappa * rng.standard_normal(len(counts))
    total += rng.standard_normal(len(counts)) * (counts @ tau)
    total += (np.sqrt(counts) * rng.standard_normal(counts.shape)) @ sigma
    return total


def _composition(recipe: Recipe, rng: np.random.Generator) -> Counts:
    n_atoms = log_uniform(rng, recipe.min_atoms, recipe.max_atoms)
    limit = min(recipe.max_species, len(recipe.species))
    n_species = min(int(rng.integers(min(recipe.min_species, limit), limit + 1)), n_atoms)
    chosen = rng.permutation(len(recipe.species))[:n_species]
    shares = np.full(n_species, 1.0 / n_species)
    if recipe.proportions == "random":
        shares = rng.dirichlet(np.ones(n_species))
    counts = np.zeros(len(recipe.species), dtype=np.int64)
    counts[chosen] = np.diff(np.round(np.cumsum([0.0, *shares]) * n_atoms)).astype(np.int64)
    return counts
