"""Compositions and energies drawn from the variance model, without geometry.

``E_k = Σ_z n_kz μ_z + κ w_k + u_k Σ_z n_kz τ_z + Σ_z √n_kz σ_z v_kz`` with independent standard
normal ``w_k``, ``u_k`` and ``v_kz``: what is found in such data is known beforehand. The column
``energy_variance`` holds the variance that this gives each structure's energy, eV².
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from pesloss.data.families import Symbol, log_uniform
from pesloss.data.store import table_of
from pesloss.spec.yaml_models import Count, Size, Strict

Proportions = Literal["equal", "random"]
Counts = npt.NDArray[np.int64]


class Spread(Strict):
    """Mean and spread of the local energies of one species."""

    mu: float = Field(0.0, ge=-1e6, le=1e6, description="mean, eV")
    sigma: float = Field(0.0, ge=0, le=1e6, description="standard deviation within a structure, eV")
    tau: float = Field(0.0, ge=0, le=1e6, description="standard deviation between structures, eV")


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
    kappa: float = Field(0.0, ge=0, le=1e6, description="spread that does not grow with size, eV")
    min_atoms: Size = Field(2, description="smallest structure; sizes are log-uniform")
    max_atoms: Size = Field(512, description="largest structure")
    min_species: Count = Field(1, description="fewest species in a structure")
    max_species: Count = Field(6, description="most species in a structure")
    proportions: Proportions = Field(
        "equal", description="of the species within a structure; random: Dirichlet(1)"
    )
    correlations: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (),
        description="shares of σ² that all atoms of a structure have in common, as τ²; dealt to "
        "the structures in turn, and their phase",
    )
    shuffle_sizes: bool = Field(
        False, description="permute the deviations over the structures, so that size explains none"
    )
    shuffle_compositions: bool = Field(
        False,
        description="permute the deviations over structures of equal size, so that composition "
        "explains none; the phase is the species most frequent where the deviation was drawn",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Recipe":
        if self.min_atoms > self.max_atoms or self.min_species > self.max_species:
            raise ValueError("the smallest number has to be at most the largest")
        if self.correlations and any(spread.tau for spread in self.species.values()):
            raise ValueError("correlations make τ of σ; allowed: species without tau")
        if sum((self.shuffle_sizes, self.shuffle_compositions, bool(self.correlations))) > 1:
            raise ValueError(
                "one of shuffle_sizes, shuffle_compositions and correlations is allowed at a time"
            )
        return self


def draw(recipe: Recipe, n_structures: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw a structure table of ``n_structures`` rows; every structure is its own family."""
    counts = np.array([_composition(recipe, rng) for _ in range(n_structures)])
    sums = Sums.of(recipe, counts)
    deviation = deviations(recipe, counts, rng)
    place = np.arange(n_structures)
    if recipe.shuffle_sizes:
        place = rng.permutation(n_structures)
    if recipe.shuffle_compositions:
        place = _within_sizes(counts.sum(axis=1), rng)
    mu = np.array([spread.mu for spread in recipe.species.values()])
    names = [f"label_{k:05d}" for k in range(n_structures)]
    phases = _phases(recipe, counts)[place]
    rows = {"structure": names, "group": names, "phase": phases, "n_atoms": counts.sum(axis=1)}
    table = pd.DataFrame(rows | {"energy": counts @ mu + deviation[place]})
    table = table_of(
        table, [dict(zip(recipe.species, row, strict=True)) for row in counts.tolist()]
    )
    return table.assign(energy_variance=sums.variance[place])


@dataclass(frozen=True)
class Sums:
    """Spreads of S structures, by their three parts (science.md §2), eV."""

    kappa: float
    sigma: npt.NDArray[np.float64]  # (S, Z) √n_kz σ_z
    tau: npt.NDArray[np.float64]  # (S,) Σ_z n_kz τ_z

    @classmethod
    def of(cls, recipe: Recipe, counts: Counts) -> "Sums":
        """Add up over the atoms; a correlation ρ turns σ² into (1 − ρ)σ² and τ² = ρσ²."""
        sigma = np.array([spread.sigma for spread in recipe.species.values()])
        tau = np.array([spread.tau for spread in recipe.species.values()])
        share = _shares(recipe, len(counts))
        return cls(
            recipe.kappa,
            np.sqrt(counts) * np.sqrt(1 - share)[:, None] * sigma,
            counts @ tau + np.sqrt(share) * (counts @ sigma),
        )

    @property
    def variance(self) -> npt.NDArray[np.float64]:
        """(S,) variance of the energies, eV²."""
        return np.asarray(self.kappa**2 + (self.sigma**2).sum(axis=1) + self.tau**2)


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
    sums = Sums.of(recipe, counts)
    total = sums.kappa * rng.standard_normal(len(counts))
    total += rng.standard_normal(len(counts)) * sums.tau
    total += (rng.standard_normal(counts.shape) * sums.sigma).sum(axis=1)
    return total


def _shares(recipe: Recipe, n_structures: int) -> npt.NDArray[np.float64]:
    return np.resize(np.array(recipe.correlations or (0.0,), dtype=float), n_structures)


def _phases(recipe: Recipe, counts: Counts) -> npt.NDArray[np.str_]:
    if recipe.correlations:
        return np.array([f"correlation {rho:g}" for rho in _shares(recipe, len(counts))])
    if recipe.shuffle_compositions:
        return np.array([f"most {list(recipe.species)[z]}" for z in counts.argmax(axis=1)])
    return np.full(len(counts), "label")


def _within_sizes(n_atoms: Counts, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Permute the structures of each size among themselves."""
    shuffled = rng.permutation(len(n_atoms))
    place = np.empty(len(n_atoms), dtype=np.int64)
    place[np.argsort(n_atoms, kind="stable")] = shuffled[
        np.argsort(n_atoms[shuffled], kind="stable")
    ]
    return place


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
