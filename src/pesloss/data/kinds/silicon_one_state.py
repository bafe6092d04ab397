"""Silicon in one thermodynamic state: every family is a trajectory of its own, at one temperature.

Energies of a canonical ensemble vary by ``Var(E) = k_B T² C_V``, which grows as N: σ is known, and
τ is 0. With a temperature drawn for each family, of mean T and relative standard deviation s, there
is ``τ = c_V T s`` beside it (c_V: slope of the mean potential energy per atom). A harmonic crystal
has ``c_V = 3/2 k_B``, hence

    σ² = 3/2 (k_B T)² (1 + s²),   τ = 3/2 k_B T s,   N* = σ²/τ² = ⅔ (1 + s²)/s².

Potential and labels as in ``si_sw``. LAMMPS moves the atoms by Langevin dynamics with the scheme of
N. Grønbech-Jensen and O. Farago, Mol. Phys. 111, 983 (2013), which samples the positions of a
harmonic system without an error of the time step. Deviations from equilibrium fade as ``exp(−t/d)``
with the damping time d, in a crystal in all modes with ``ω d > ½``: at d = 100 fs, the slowest of a
cell of 1,000 atoms has ``ω d`` of about 1. A crystal starts on its sites with the velocities of
twice the temperature, half of which becomes potential energy; a liquid is an fcc crystal of the
same density that is melted first.
"""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import kB
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
    Stillinger_Weber_PRB_31_5262_Si as PARAMETERS,
)
from pydantic import AfterValidator, Field, model_validator

from pesloss.data.families import Built, Family, computed, dealt_out
from pesloss.data.kinds.si_sw import DIAMOND
from pesloss.data.melts import Engine, potential_file, set_up, start
from pesloss.spec.yaml_models import Count, PositiveFloat, Strict

PER_CELL = {"crystal": 8, "liquid": 4}
LARGEST_SPREAD = 0.5  # a uniform temperature then stays above 0.13 of its mean
SEEDS = 2**29  # LAMMPS takes positive 32-bit numbers


def _size(n_atoms: int) -> int:
    if not 4 <= n_atoms <= 10000:
        raise ValueError("allowed: 4 to 10000")
    return n_atoms


class Recipe(Strict):
    """Parameters of the generator."""

    phase: Literal["crystal", "liquid"] = Field("crystal", description="what is there")
    temperature: PositiveFloat = Field(600.0, description="mean temperature, K")
    spread: Annotated[float, Field(ge=0, le=LARGEST_SPREAD)] = Field(
        0.0, description="relative standard deviation of the families' temperatures (uniform)"
    )
    n_atoms: tuple[Annotated[int, AfterValidator(_size)], ...] = Field(
        (8, 64, 216, 512, 1000),
        min_length=1,
        description="sizes, of as many families each: cubes of 8 atoms a cell for a crystal, of 4 "
        "for a liquid",
    )
    expansion: PositiveFloat = Field(
        1.0, description="edge of the cell over that of the diamond crystal of this many atoms"
    )
    n_snapshots: Count = Field(2, description="structures of a trajectory")
    timestep: PositiveFloat = Field(4.0, description="of the molecular dynamics, fs")
    damping: PositiveFloat = Field(100.0, description="time in which velocities are forgotten, fs")
    melt: PositiveFloat = Field(5000.0, description="temperature that destroys a crystal, K")
    melt_steps: Count = Field(200, description="steps at the melting temperature, of a liquid")
    equilibration_steps: Count = Field(100, description="steps at the temperature itself, then …")
    steps_between: Count = Field(100, description="… steps before each snapshot")

    @model_validator(mode="after")
    def _sizes_are_cubes(self) -> Self:
        cell = PER_CELL[self.phase]
        for size in self.n_atoms:
            if cell * _side(self.phase, size) ** 3 != size:
                cubes = ", ".join(str(cell * m**3) for m in range(1, 6))
                raise ValueError(f"n_atoms is {size}; allowed: of a {self.phase} {cubes}, …")
        return self


def _side(phase: str, n_atoms: int) -> int:
    return round(float(np.cbrt(n_atoms / PER_CELL[phase])))


def plan(recipe: Recipe, n_structures: int, rng: np.random.Generator) -> list[Family]:
    """Deal trajectories to sizes; see ``pesloss.data.kinds``."""
    families = []
    for i, n in enumerate(dealt_out(n_structures, recipe.n_snapshots)):
        n_atoms = recipe.n_atoms[i % len(recipe.n_atoms)]
        steps = recipe.equilibration_steps + n * recipe.steps_between
        steps += recipe.melt_steps if recipe.phase == "liquid" else 0
        name = f"{recipe.phase}_{i:04d}"
        cost = n_atoms * (n + steps / 200)
        families.append(Family(name, recipe.phase, n, cost, {"n_atoms": n_atoms}))
    return families


def build(recipe: Recipe, family: Family, rng: np.random.Generator) -> Iterator[Built]:
    """Compute the structures of a family; see ``pesloss.data.kinds``."""
    temperature = recipe.temperature * (1 + recipe.spread * np.sqrt(3) * rng.uniform(-1, 1))
    for index, atoms in enumerate(trajectory(recipe, family, float(temperature), rng)):
        yield computed(atoms, Manybody(**StillingerWeber(PARAMETERS)), family, index)


def trajectory(
    recipe: Recipe, family: Family, temperature: float, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield snapshots of a trajectory at ``temperature`` (K) that begins for this family alone."""
    cell = _cell(recipe, int(family.what["n_atoms"]))
    with tempfile.TemporaryDirectory() as folder, closing(start()) as engine:
        potential = Path(folder) / "Si.sw"
        potential.write_text(potential_file(PARAMETERS), encoding="ascii")
        set_up(engine, cell, potential)
        engine.command(f"timestep {recipe.timestep / 1000!r}")
        if recipe.phase == "liquid":
            _run(engine, recipe, recipe.melt, recipe.melt_steps, rng)
        _run(engine, recipe, temperature, recipe.equilibration_steps, rng)
        for _ in range(family.n_structures):
            engine.command(f"run {recipe.steps_between} post no")
            moved = np.array(engine.gather_atoms("x", 1, 3)).reshape(-1, 3)
            yield Atoms(cell.symbols, moved, cell=cell.cell, pbc=True)


def _cell(recipe: Recipe, n_atoms: int) -> Atoms:
    edge, side = DIAMOND * recipe.expansion, _side(recipe.phase, n_atoms)
    if recipe.phase == "crystal":
        cell: Atoms = bulk("Si", "diamond", a=edge, cubic=True)
    else:
        cell = bulk("Si", "fcc", a=edge / np.cbrt(2), cubic=True)
    cell *= (side, side, side)
    return cell


def _run(
    engine: Engine, recipe: Recipe, kelvin: float, n_steps: int, rng: np.random.Generator
) -> None:
    """Draw velocities of twice the temperature and move the atoms with a thermostat at it."""
    first, second = rng.integers(1, SEEDS, 2).tolist()
    engine.commands_string(
        f"""velocity all create {2 * kelvin!r} {first} mom yes rot no
        fix heat all langevin {kelvin!r} {kelvin!r} {recipe.damping / 1000!r} {second} gjf vhalf
        fix move all nve
        run {n_steps} post no"""
    )


def harmonic_scales(recipe: Recipe) -> tuple[float, float]:
    """Return σ and τ, eV, of a harmonic crystal; the formula stands above."""
    thermal = kB * recipe.temperature
    sigma = float(np.sqrt(1.5 * (1 + recipe.spread**2))) * thermal
    return sigma, 1.5 * thermal * recipe.spread
