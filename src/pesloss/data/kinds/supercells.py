"""Energies of m copies of small base cells, without geometry: the exponent is 1, exactly.

A base cell has an energy ``n·μ + √n σ v`` of its own; ``m`` copies of it have ``m`` times that.
All base cells have the same number of atoms, so size varies by the number of copies alone.
"""

import numpy as np
import pandas as pd
from pydantic import Field

from pesloss.data.families import Symbol, dealt_out, log_uniform
from pesloss.data.kinds import labels
from pesloss.data.store import table_of
from pesloss.spec.yaml_models import Count, Size, Strict


class Recipe(Strict):
    """Base cells and how often they are repeated."""

    species: dict[Symbol, labels.Spread] = Field(
        labels.SPREADS, min_length=1, description="spread of each species"
    )
    base_atoms: Size = Field(4, description="atoms of a base cell")
    max_species: Count = Field(3, description="most species in a base cell")
    max_copies: Count = Field(128, description="most copies; log-uniform from 1")
    copies_per_cell: Count = Field(4, description="supercells of one base cell: a family")


def draw(recipe: Recipe, n_structures: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw a structure table of ``n_structures`` rows; copies of one base cell are a family."""
    sizes = dealt_out(n_structures, recipe.copies_per_cell)
    base = _base_cells(recipe, len(sizes), rng)
    cells = [(f, i) for f, size in enumerate(sizes) for i in range(size)]
    family = np.array([f for f, _ in cells])
    copies = [log_uniform(rng, 1, recipe.max_copies) for _ in cells]
    rows = {
        "structure": [f"cell_{f:05d}-{i:03d}" for f, i in cells],
        "group": [f"cell_{f:05d}" for f, _ in cells],
        "phase": "supercell",
        "n_atoms": np.array(copies) * recipe.base_atoms,
        "energy": np.array(copies) * base["energy"].to_numpy()[family],
    }
    found = [symbol for symbol in recipe.species if f"n_{symbol}" in base]
    numbers = base[[f"n_{symbol}" for symbol in found]].to_numpy()[family]
    counts = (numbers * np.array(copies)[:, None]).tolist()
    return table_of(pd.DataFrame(rows), [dict(zip(found, row, strict=True)) for row in counts])


def _base_cells(recipe: Recipe, n_cells: int, rng: np.random.Generator) -> pd.DataFrame:
    inner = labels.Recipe(
        species=recipe.species,
        min_atoms=recipe.base_atoms,
        max_atoms=recipe.base_atoms,
        max_species=recipe.max_species,
        proportions="random",
    )
    return labels.draw(inner, n_cells, rng)
