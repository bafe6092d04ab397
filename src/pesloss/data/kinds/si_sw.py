"""Silicon with the Stillinger–Weber potential: small crystals, liquid and amorphous cells.

Potential: F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985). Lattice constants of the
metallic phases under it: H. Balamane, T. Halicioglu and W. A. Tiller, Phys. Rev. B 46, 2250 (1992).
Every label, local energies included, comes from matscipy; LAMMPS moves the atoms of melts.
"""

from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
from ase import Atoms
from ase.build import bulk
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
    Stillinger_Weber_PRB_31_5262_Si as PARAMETERS,
)
from pydantic import Field, model_validator

from pesloss.data.crystals import strained
from pesloss.data.families import (
    Built,
    Family,
    between,
    computed,
    dealt_out,
    rattles,
    shared_out,
    twins,
)
from pesloss.data.melts import Schedule, snapshots
from pesloss.spec.yaml_models import Count, PositiveFloat, Range, Strict

DIAMOND = 5.431  # lattice constant, Å
Crystal = Literal["diamond", "beta_tin", "bcc", "fcc"]
Phase = Literal[Crystal, "liquid", "amorphous"]
SHARES: dict[Phase, float] = {
    "diamond": 0.23,
    "beta_tin": 0.14,
    "bcc": 0.14,
    "fcc": 0.14,
    "liquid": 0.18,
    "amorphous": 0.17,
}
DISORDERED = ("liquid", "amorphous")
REPEATS = {1: (1, 1, 1), 2: (2, 1, 1), 4: (2, 2, 1), 8: (2, 2, 2), 16: (4, 2, 2), 32: (4, 4, 2)}
CELLS = {64: (2, 2, 2), 96: (3, 2, 2), 144: (3, 3, 2), 216: (3, 3, 3)}


class Recipe(Strict):
    """Parameters of the generator."""

    shares: dict[Phase, PositiveFloat] = Field(
        SHARES, min_length=1, description="relative number of structures of each phase"
    )
    max_atoms_crystal: dict[Crystal, Literal[2, 4, 8, 16, 32, 64]] = Field(
        {"diamond": 64, "beta_tin": 16, "bcc": 16, "fcc": 16},
        description="largest cell of each crystal; the smallest has 2 atoms, others 4, 8, …",
    )
    n_twins: Count = Field(4, description="structures of one crystal")
    strain: Range = Field(
        (0.0, 0.04), description="limits of the strain components' standard deviation"
    )
    rattle: Range = Field(
        (0.01, 0.15), description="limits of the displacements' standard deviation, Å"
    )
    n_atoms_melt: tuple[Literal[64, 96, 144, 216], ...] = Field(
        (64, 216, 96, 144), min_length=1, description="cells of the melts"
    )
    n_snapshots: Count = Field(20, description="structures of a trajectory")
    expansion: Range = Field(
        (0.97, 1.04), description="edge of the melts' cells over that of the diamond crystal"
    )
    melt: PositiveFloat = Field(5000.0, description="temperature that destroys the crystal, K")
    liquid: Range = Field((1800.0, 3000.0), description="of liquids, K")
    amorphous: Range = Field((300.0, 1000.0), description="of amorphous cells, K")
    melt_steps: Count = Field(1000, description="steps at the melting temperature")
    quench_steps: Count = Field(2500, description="steps of the cooling to amorphous")
    steps_between: Count = Field(100, description="steps between snapshots")
    timestep: PositiveFloat = Field(2.5, description="of the molecular dynamics, fs")

    @model_validator(mode="after")
    def _crystals_have_sizes(self) -> Self:
        for phase in self.shares:
            if phase not in (*DISORDERED, *self.max_atoms_crystal):
                raise ValueError(f"max_atoms_crystal has no {phase!r}, which is among the shares")
        return self


def plan(recipe: Recipe, n_structures: int, rng: np.random.Generator) -> list[Family]:
    """Choose crystals and trajectories; see ``pesloss.data.kinds``."""
    families = []
    for phase, count in shared_out(n_structures, recipe.shares).items():
        melt = phase in DISORDERED
        # three trajectories at least, one for each split
        several = max(1, min(recipe.n_snapshots, count // 3))
        for i, n in enumerate(dealt_out(count, several if melt else recipe.n_twins)):
            n_atoms = _melt_size(recipe, i) if melt else _crystal_size(recipe, phase, i)
            steps = recipe.melt_steps + recipe.quench_steps + n * recipe.steps_between
            cost = n_atoms * (n + steps / 200 if melt else n)
            families.append(Family(f"{phase}_{i:04d}", phase, n, cost, {"n_atoms": n_atoms}))
    return families


def _melt_size(recipe: Recipe, i: int) -> int:
    return recipe.n_atoms_melt[i % len(recipe.n_atoms_melt)]


def _crystal_size(recipe: Recipe, phase: str, i: int) -> int:
    largest = {str(name): size for name, size in recipe.max_atoms_crystal.items()}
    doublings = int(np.log2(largest[phase]))
    return int(2 ** (1 + i % doublings))


def build(recipe: Recipe, family: Family, rng: np.random.Generator) -> Iterator[Built]:
    """Compute the structures of a family; see ``pesloss.data.kinds``."""
    frames = _melted if family.phase in DISORDERED else _crystals
    for index, atoms in enumerate(frames(recipe, family, rng)):
        yield computed(atoms, Manybody(**StillingerWeber(PARAMETERS)), family, index)


def _crystals(recipe: Recipe, family: Family, rng: np.random.Generator) -> Iterator[Atoms]:
    cell = _primitive(family.phase)
    base = cell * REPEATS[int(family.what["n_atoms"]) // len(cell)]
    for _ in twins(family):
        atoms = strained(base, rng, between(rng, recipe.strain))
        atoms.positions += rattles(rng, len(atoms), between(rng, recipe.rattle))
        yield atoms


def _primitive(phase: str) -> Atoms:
    if phase == "beta_tin":
        a, c = 4.969, 0.561 * 4.969
        cell = [[-a / 2, a / 2, c / 2], [a / 2, -a / 2, c / 2], [a / 2, a / 2, -c / 2]]
        return Atoms("Si2", scaled_positions=[(0, 0, 0), (0.75, 0.25, 0.5)], cell=cell, pbc=True)
    constants = {"diamond": DIAMOND, "bcc": 3.245, "fcc": 4.147}
    return bulk("Si", phase, a=constants[phase])


def _melted(recipe: Recipe, family: Family, rng: np.random.Generator) -> Iterator[Atoms]:
    amorphous = family.phase == "amorphous"
    edge = DIAMOND * between(rng, recipe.expansion)
    crystal = bulk("Si", "diamond", a=edge, cubic=True) * CELLS[int(family.what["n_atoms"])]
    schedule = Schedule(
        timestep=recipe.timestep,
        melt=recipe.melt,
        melt_steps=recipe.melt_steps,
        final=between(rng, recipe.amorphous if amorphous else recipe.liquid),
        cooling_steps=recipe.quench_steps if amorphous else recipe.melt_steps // 2,
        steps_between=recipe.steps_between,
    )
    yield from snapshots(crystal, PARAMETERS, schedule, family.n_structures, rng)
