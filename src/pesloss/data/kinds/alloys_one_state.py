"""Alloys of one size at one temperature: composition alone differs between their families.

Compositions are the points of a grid on the simplex of the species, each with as many families. A
family is an fcc crystal with its atoms dealt to the sites anew, moved by Langevin dynamics of its
own, with ASE's EMT after K. W. Jacobsen, P. Stoltze and J. K. Nørskov, Surf. Sci. 366, 394 (1996).
It has an energy for each atom, which is kept. The lattice constant is the mean of the metals'.

Harmonic crystals vary alike, whatever they are made of: ``σ² = 3/2 (k_B T)² (N − 1)/N`` of a pure
metal (the centre of mass rests). In a mixture there is beside it what the dealing of atoms makes.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, Self

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.data import atomic_numbers, reference_states
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from pydantic import Field, model_validator

from pesloss.data.families import Built, Family, computed, dealt_out
from pesloss.data.kinds.emt_alloys import Metal
from pesloss.spec.yaml_models import Count, PositiveFloat, Strict

ATOMS_PER_CELL = 4


class Recipe(Strict):
    """Parameters of the generator."""

    species: tuple[Metal, ...] = Field(
        ("Cu", "Pd", "Au"), min_length=1, max_length=5, description="metals EMT knows"
    )
    grid: Count = Field(
        4, le=64, description="compositions are multiples of one over this; 1: pure metals alone"
    )
    side: Count = Field(2, le=6, description="cubic cells along each edge of a structure")
    temperature: PositiveFloat = Field(400.0, description="of all, K")
    n_snapshots: Count = Field(2, description="structures of a trajectory")
    timestep: PositiveFloat = Field(8.0, description="of the molecular dynamics, fs")
    damping: PositiveFloat = Field(80.0, description="time in which velocities are forgotten, fs")
    equilibration_steps: Count = Field(30, description="steps at first, then …")
    steps_between: Count = Field(30, description="… steps before each snapshot")

    @model_validator(mode="after")
    def _compositions_are_whole(self) -> Self:
        n_atoms = ATOMS_PER_CELL * self.side**3
        if n_atoms % self.grid:
            allowed = f"a divisor of {n_atoms}, the number of atoms"
            raise ValueError(f"grid is {self.grid}; allowed: {allowed}")
        return self


def compositions(recipe: Recipe) -> list[tuple[int, ...]]:
    """List the numbers of atoms of each species, one entry a point of the grid."""
    n_atoms = ATOMS_PER_CELL * recipe.side**3
    shares = product(range(recipe.grid + 1), repeat=len(recipe.species))
    whole = (point for point in shares if sum(point) == recipe.grid)
    return [tuple(n_atoms // recipe.grid * part for part in point) for point in whole]


def plan(recipe: Recipe, n_structures: int, rng: np.random.Generator) -> list[Family]:
    """Deal trajectories to compositions; see ``pesloss.data.kinds``."""
    points = compositions(recipe)
    families = []
    for i, n in enumerate(dealt_out(n_structures, recipe.n_snapshots)):
        steps = recipe.equilibration_steps + n * recipe.steps_between
        what = {"composition": points[i % len(points)]}
        families.append(Family(f"alloy_{i:04d}", "crystal", n, float(steps), what))
    return families


def build(recipe: Recipe, family: Family, rng: np.random.Generator) -> Iterator[Built]:
    """Compute the structures of a family; see ``pesloss.data.kinds``."""
    for index, atoms in enumerate(_trajectory(recipe, family, rng)):
        yield computed(atoms, EMT(), family, index)


def _trajectory(recipe: Recipe, family: Family, rng: np.random.Generator) -> Iterator[Atoms]:
    atoms = _crystal(recipe, family.what["composition"], rng)
    atoms.calc = EMT()
    # on their sites atoms have no potential energy yet: half of what they are given becomes it
    thermalize_momenta(atoms, temperature_K=2 * recipe.temperature, rng=rng)
    dynamics = Langevin(
        atoms,
        recipe.timestep * units.fs,
        temperature_K=recipe.temperature,
        friction=1 / (recipe.damping * units.fs),
        fixcm=False,
        rng=rng,
    )
    dynamics.run(recipe.equilibration_steps)
    for _ in range(family.n_structures):
        dynamics.run(recipe.steps_between)
        yield atoms


def _crystal(recipe: Recipe, composition: tuple[int, ...], rng: np.random.Generator) -> Atoms:
    n_atoms = sum(composition)
    edges = [_lattice_constant(symbol) for symbol in recipe.species]
    edge = float(np.dot(composition, edges) / n_atoms)
    atoms: Atoms = bulk("Cu", "fcc", a=edge, cubic=True)
    atoms *= (recipe.side,) * 3
    atoms.symbols = rng.permutation(np.repeat(recipe.species, composition))
    return atoms


def _lattice_constant(symbol: str) -> float:
    state: Any = reference_states[atomic_numbers[symbol]]
    return float(state["a"])


def harmonic_scale(recipe: Recipe) -> float:
    """Return σ, eV, of a pure harmonic crystal; the formula stands above."""
    n_atoms = ATOMS_PER_CELL * recipe.side**3
    return float(np.sqrt(1.5 * (n_atoms - 1) / n_atoms) * units.kB * recipe.temperature)
