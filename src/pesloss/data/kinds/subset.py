"""Part of another dataset, chosen by size, species or phase, with the same labels.

What the whole and its parts are best trained with can then be compared without making new data.
"""

from collections.abc import Iterator, Sequence

import pandas as pd
from ase import Atoms
from pydantic import Field, model_validator

from pesloss.data.families import Symbol
from pesloss.job.errors import PeslossError
from pesloss.spec.yaml_models import Size, Strict


class Recipe(Strict):
    """Which structures of the other dataset are taken."""

    of: str = Field(description="a generated dataset")
    min_atoms: Size | None = Field(None, description="smallest structure; left out: any")
    max_atoms: Size | None = Field(None, description="largest structure; left out: any")
    species: tuple[Symbol, ...] | None = Field(
        None, min_length=1, description="structures made of these alone; left out: of any"
    )
    phases: tuple[str, ...] | None = Field(
        None, min_length=1, description="structures of these phases; left out: of all"
    )

    @model_validator(mode="after")
    def _leaves_something(self) -> "Recipe":
        if self.min_atoms and self.max_atoms and self.min_atoms > self.max_atoms:
            raise ValueError(f"min_atoms is {self.min_atoms}; allowed: up to max_atoms")
        return self


def choose(
    recipe: Recipe, structures: Sequence[Atoms], where: str = "subset"
) -> tuple[list[Atoms], pd.DataFrame]:
    """Take the structures that the recipe asks for, in their order.

    Returns
    -------
    chosen
        The structures, as they are.
    left_out
        Columns structure and reason: all others.

    Raises
    ------
    PeslossError
        When there is no such structure.
    """
    reasons = [next(_against(recipe, atoms), "") for atoms in structures]
    chosen = [atoms for atoms, reason in zip(structures, reasons, strict=True) if not reason]
    if not chosen:
        asked = ", ".join(f"{k}={v}" for k, v in recipe.model_dump(exclude_none=True).items())
        raise PeslossError(f"{where}: no structure of {recipe.of} is left; asked for: {asked}")
    rows = [
        (str(atoms.info["structure"]), reason)
        for atoms, reason in zip(structures, reasons, strict=True)
        if reason
    ]
    return chosen, pd.DataFrame(rows, columns=["structure", "reason"], dtype="str")


def _against(recipe: Recipe, atoms: Atoms) -> Iterator[str]:
    """Yield what speaks against taking a structure."""
    if recipe.min_atoms and len(atoms) < recipe.min_atoms:
        yield f"fewer than {recipe.min_atoms} atoms"
    if recipe.max_atoms and len(atoms) > recipe.max_atoms:
        yield f"more than {recipe.max_atoms} atoms"
    if recipe.species and (others := sorted(set(atoms.symbols) - set(recipe.species))):
        yield f"species {', '.join(others)}"
    if recipe.phases and atoms.info["phase"] not in recipe.phases:
        yield f"phase {atoms.info['phase']}"
