"""Alloys of six fcc metals with effective medium theory: crystals, slabs, particles, liquids.

Potential: ASE's EMT, after K. W. Jacobsen, P. Stoltze and J. K. Nørskov, Surf. Sci. 366, 394
(1996). It has an energy for each atom, which is kept. Species are in equal proportions on average.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.build import bulk, fcc100, fcc110, fcc111
from ase.calculators.emt import EMT
from ase.data import atomic_numbers, reference_states
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from pydantic import Field

from pesloss.data.crystals import boxes, strained
from pesloss.data.families import (
    Built,
    Family,
    between,
    computed,
    dealt_out,
    log_even,
    rattles,
    shared_out,
    twins,
)
from pesloss.spec.yaml_models import Count, PositiveFloat, Range, Size, Strict

SURFACES = {"fcc100": fcc100, "fcc110": fcc110, "fcc111": fcc111}
Metal = Literal["Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"]
Phase = Literal["crystal", "surface", "nanoparticle", "liquid"]
SHARES: dict[Phase, float] = {
    "crystal": 0.35,
    "surface": 0.25,
    "nanoparticle": 0.25,
    "liquid": 0.15,
}
ATOMS_PER_CELL = 4


class Recipe(Strict):
    """Parameters of the generator."""

    species: tuple[Metal, ...] = Field(
        ("Al", "Ni", "Cu", "Pd", "Ag", "Au"), min_length=1, description="metals EMT knows"
    )
    shares: dict[Phase, PositiveFloat] = Field(
        SHARES, min_length=1, description="relative number of structures of each phase"
    )
    max_atoms: Size = Field(
        108, ge=8, le=800, description="largest structure; the smallest has 4 atoms"
    )
    n_twins: Count = Field(4, description="structures of a crystal, slab or particle")
    strain: Range = Field(
        (0.0, 0.03), description="limits of the strain components' standard deviation"
    )
    rattle: Range = Field(
        (0.01, 0.15), description="limits of the displacements' standard deviation, Å"
    )
    vacuum: PositiveFloat = Field(6.0, description="on each side of a slab, Å")
    temperature: Range = Field((1500.0, 3000.0), description="of the liquids, K")
    expansion: Range = Field(
        (1.02, 1.08), description="lattice constant of the liquids' cells over that of the crystal"
    )
    n_snapshots: Count = Field(20, description="structures of a liquid's trajectory")
    melting_steps: Count = Field(150, description="steps before the first snapshot")
    steps_between: Count = Field(25, description="steps between snapshots")
    timestep: PositiveFloat = Field(4.0, description="of the molecular dynamics, fs")


def plan(recipe: Recipe, n_structures: int, rng: np.random.Generator) -> list[Family]:
    """Choose crystals, slabs, particles and trajectories; see ``pesloss.data.kinds``."""
    families = []
    for phase, count in shared_out(n_structures, recipe.shares).items():
        # three trajectories at least, one for each split
        several = max(1, min(recipe.n_snapshots, count // 3))
        sizes = dealt_out(count, several if phase == "liquid" else recipe.n_twins)
        smallest = 4 * ATOMS_PER_CELL if phase == "liquid" else ATOMS_PER_CELL
        targets = log_even(len(sizes), smallest, recipe.max_atoms)
        for i, (n, target) in enumerate(zip(sizes, targets, strict=True)):
            steps = recipe.melting_steps + n * recipe.steps_between if phase == "liquid" else n
            what = {"n_atoms": target}
            families.append(Family(f"{phase}_{i:04d}", phase, n, steps * (target + 10.0), what))
    return families


def build(recipe: Recipe, family: Family, rng: np.random.Generator) -> Iterator[Built]:
    """Compute the structures of a family; see ``pesloss.data.kinds``."""
    base = _base(recipe, family, rng)
    frames = _trajectory if family.phase == "liquid" else _distorted
    for index, atoms in enumerate(frames(recipe, base, family, rng)):
        yield computed(atoms, EMT(), family, index)


def _base(recipe: Recipe, family: Family, rng: np.random.Generator) -> Atoms:
    target = int(family.what["n_atoms"])
    n_species = int(rng.integers(1, len(recipe.species) + 1))
    chosen = [str(s) for s in rng.permutation(recipe.species)[:n_species]]
    constant = float(np.mean([_lattice_constant(s) for s in chosen]))
    if family.phase == "surface":
        atoms = _slab(target, constant, recipe.vacuum, rng)
    elif family.phase == "nanoparticle":
        atoms = _particle(target, constant, rng)
    else:
        atoms = _cell(target, constant, rng)
    atoms.symbols = rng.choice(chosen, size=len(atoms))
    return atoms


def _lattice_constant(symbol: str) -> float:
    state: Any = reference_states[atomic_numbers[symbol]]
    return float(state["a"])


def _cell(target: int, constant: float, rng: np.random.Generator) -> Atoms:
    shapes = boxes(target // ATOMS_PER_CELL)
    cell: Atoms = bulk("Cu", "fcc", a=constant, cubic=True)
    cell *= shapes[int(rng.integers(len(shapes)))]
    return cell


def _slab(target: int, constant: float, vacuum: float, rng: np.random.Generator) -> Atoms:
    surface: Any = SURFACES[str(rng.choice(sorted(SURFACES)))]
    layers = int(rng.integers(2, 7)) if target > 2 * ATOMS_PER_CELL else 2
    side = max(1, int(np.sqrt(target / layers)))
    size = (side, max(1, target // (layers * side)), layers)
    slab: Atoms = surface("Cu", size, a=constant, vacuum=vacuum)
    return slab


def _particle(target: int, constant: float, rng: np.random.Generator) -> Atoms:
    lattice = bulk("Cu", "fcc", a=constant, cubic=True) * (6, 6, 6)
    centre = constant * (3 + rng.random(3))
    nearest = np.argsort(np.linalg.norm(lattice.positions - centre, axis=1), kind="stable")
    kept = lattice.positions[np.sort(nearest[:target])]
    return Atoms(f"Cu{target}", kept - kept.mean(axis=0))


def _distorted(
    recipe: Recipe, base: Atoms, family: Family, rng: np.random.Generator
) -> Iterator[Atoms]:
    for _ in twins(family):
        atoms = strained(base, rng, between(rng, recipe.strain))
        atoms.positions += rattles(rng, len(atoms), between(rng, recipe.rattle))
        yield atoms


def _trajectory(
    recipe: Recipe, base: Atoms, family: Family, rng: np.random.Generator
) -> Iterator[Atoms]:
    temperature = between(rng, recipe.temperature)
    base.set_cell(base.cell * between(rng, recipe.expansion), scale_atoms=True)
    base.calc = EMT()
    thermalize_momenta(base, temperature_K=4 * temperature, rng=rng)
    dynamics = Langevin(
        base,
        recipe.timestep * units.fs,
        temperature_K=temperature,
        friction=0.02,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(recipe.melting_steps)
    for _ in twins(family):
        dynamics.run(recipe.steps_between)
        yield base
