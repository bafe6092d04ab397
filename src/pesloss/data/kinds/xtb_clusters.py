"""Molecules, molecular clusters and homologous series with GFN2-xTB energies (tblite).

Method: C. Bannwarth, S. Ehlert and S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019). Molecules
are those of ASE's g2 set. Nothing is relaxed: a family is one geometry, and each of its structures
has it displaced by normal noise. Every base geometry belongs to one family alone.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator
from tblite.ase import TBLite

from pesloss.data import molecules
from pesloss.data.families import (
    Built,
    Family,
    Symbol,
    between,
    computed,
    dealt_out,
    log_spaced,
    log_uniform,
    rattles,
    shared_out,
    twins,
)
from pesloss.spec.yaml_models import Count, PositiveFloat, Range, Size, Strict

Phase = Literal["molecule", "cluster", "alkane", "polyene", "water_cluster", "silane"]
SHARES: dict[Phase, float] = {
    "molecule": 0.20,
    "cluster": 0.40,
    "alkane": 0.11,
    "polyene": 0.08,
    "water_cluster": 0.13,
    "silane": 0.08,
}


@lru_cache
def _sizes(elements: tuple[str, ...], max_atoms: int) -> tuple[int, ...]:
    names = molecules.small_molecules(elements, 2, max_atoms)
    return tuple(sorted(len(molecules.named(name)) for name in names))


class Recipe(Strict):
    """Parameters of the generator."""

    rattle: Range = Field(
        (0.08, 0.08),
        description="limits of the displacement's standard deviation, Å, drawn uniformly for each "
        "structure; equal: one for all",
    )
    shares: dict[Phase, PositiveFloat] = Field(
        SHARES, min_length=1, description="relative number of structures of each phase"
    )
    elements: tuple[Symbol, ...] = Field(
        ("H", "C", "N", "O", "F", "Si", "S", "Cl"), description="elements of the molecules"
    )
    n_twins: Count = Field(4, description="structures of a family, about")
    min_atoms: Size = Field(3, description="smallest structure")
    max_atoms: Size = Field(120, description="largest structure")
    max_silicon: Count = Field(
        20, description="most silicon atoms of a silane, about; larger ones take seconds each"
    )
    max_molecules: Count = Field(12, ge=2, le=1000, description="most molecules of a mixed cluster")
    max_kinds: Count = Field(3, description="most kinds of molecules in a mixed cluster")
    closeness: PositiveFloat = Field(
        0.8, description="least distance between molecules, in sums of van der Waals radii"
    )
    min_distance: PositiveFloat = Field(2.0, description="least distance between molecules, Å")

    @model_validator(mode="after")
    def _clusters_can_be_made(self) -> Self:
        if self.min_atoms > self.max_atoms:
            raise ValueError(f"min_atoms is {self.min_atoms}; allowed: up to max_atoms")
        sizes = _sizes(self.elements, self.max_atoms)
        if "cluster" in self.shares and len(sizes) < self.max_kinds:
            allowed = f"up to {len(sizes)}, the molecules of up to max_atoms of these elements"
            raise ValueError(f"max_kinds is {self.max_kinds}; allowed: {allowed}")
        if "cluster" in self.shares and 2 * sizes[0] > min(2 * self.min_atoms, self.max_atoms):
            allowed = f"such that two molecules fit, {2 * sizes[0]} atoms"
            limits = f"min_atoms, max_atoms are {self.min_atoms}, {self.max_atoms}"
            raise ValueError(f"{limits}; allowed: {allowed}")
        return self


def plan(recipe: Recipe, n_structures: int, rng: np.random.Generator) -> list[Family]:
    """Choose the base geometries; see ``pesloss.data.kinds``."""
    families = []
    for phase, count in shared_out(n_structures, recipe.shares).items():
        wanted = len(dealt_out(count, recipe.n_twins))
        bases = PLANS[phase](recipe, wanted, rng) if count else []
        bases = bases[:count]
        per_family = dealt_out(count, -(-count // len(bases))) if bases else []
        per_family += [0] * (len(bases) - len(per_family))
        for i, (base, n_twins) in enumerate(zip(bases, per_family, strict=True)):
            if n_twins:
                families.append(_family(f"{phase}_{i:04d}", phase, n_twins, base))
    return families


Base = tuple[int, tuple[str | int, ...]]


def _family(name: str, phase: str, n_twins: int, base: Base) -> Family:
    n_atoms, what = base
    dear = 3 if phase == "silane" else 1  # silicon has d functions and converges slowly
    return Family(
        name, phase, n_twins, n_twins * (1 + dear * (n_atoms / 20) ** 2.5), {"what": what}
    )


def _some(all_of_them: list[Base], wanted: int) -> list[Base]:
    return log_spaced(all_of_them, [base[0] for base in all_of_them], wanted)


def _molecules(recipe: Recipe, wanted: int, rng: np.random.Generator) -> list[Base]:
    names = molecules.small_molecules(recipe.elements, recipe.min_atoms, recipe.max_atoms)
    return _some([(len(molecules.named(name)), (name,)) for name in names], wanted)


def _clusters(recipe: Recipe, wanted: int, rng: np.random.Generator) -> list[Base]:
    names = molecules.small_molecules(recipe.elements, 2, recipe.max_atoms)
    sizes = {name: len(molecules.named(name)) for name in names}
    return [_mixture(recipe, sizes, rng) for _ in range(wanted)]


def _mixture(recipe: Recipe, sizes: dict[str, int], rng: np.random.Generator) -> Base:
    names = sorted(sizes)
    target = log_uniform(rng, 2 * recipe.min_atoms, recipe.max_atoms)
    while True:
        kinds = rng.choice(names, size=int(rng.integers(1, recipe.max_kinds + 1)), replace=False)
        picks = [str(name) for name in rng.choice(kinds, size=recipe.max_molecules)]
        totals = np.cumsum([sizes[name] for name in picks])
        n_fit = int(np.searchsorted(totals, target, side="right"))
        if n_fit >= 2:
            return int(totals[n_fit - 1]), tuple(picks[:n_fit])


def _series(
    size_of: Callable[[int], int], shortest: int, longest: Callable[[Recipe], int]
) -> Callable[[Recipe, int, np.random.Generator], list[Base]]:
    """Return the plan of a homologous series whose member n has ``size_of(n)`` atoms."""

    def bases(recipe: Recipe, wanted: int, rng: np.random.Generator) -> list[Base]:
        fitting: list[Base] = [
            (size_of(n), (n,))
            for n in range(shortest, longest(recipe) + 1)
            if recipe.min_atoms <= size_of(n) <= recipe.max_atoms
        ]
        return _some(fitting, wanted)

    return bases


def _water(recipe: Recipe, wanted: int, rng: np.random.Generator) -> list[Base]:
    numbers = [log_uniform(rng, 2, recipe.max_atoms // 3) for _ in range(wanted)]
    return [(3 * n, ("H2O",) * n) for n in numbers]


# members that are in the g2 set already would put the same molecule into two families
PLANS = {
    "molecule": _molecules,
    "cluster": _clusters,
    "alkane": _series(lambda n: 3 * n + 2, shortest=5, longest=lambda r: r.max_atoms),
    "polyene": _series(lambda n: 4 * n + 2, shortest=3, longest=lambda r: r.max_atoms),
    "water_cluster": _water,
    "silane": _series(lambda n: 3 * n + 2, shortest=3, longest=lambda r: r.max_silicon),
}


def _base(recipe: Recipe, family: Family, rng: np.random.Generator) -> Atoms:
    what = family.what["what"]
    if family.phase in ("cluster", "water_cluster"):
        parts = [molecules.named(name) for name in what]
        return molecules.packed(parts, rng, recipe.closeness, recipe.min_distance)
    if family.phase == "molecule":
        return molecules.named(what[0])
    if family.phase == "silane":
        return molecules.silane(what[0], rng)
    return {"alkane": molecules.alkane, "polyene": molecules.polyene}[family.phase](what[0])


def build(recipe: Recipe, family: Family, rng: np.random.Generator) -> Iterator[Built]:
    """Displace the family's geometry and compute it; see ``pesloss.data.kinds``."""
    base = _base(recipe, family, rng)
    for index in twins(family):
        atoms = base.copy()
        atoms.positions += rattles(rng, len(atoms), between(rng, recipe.rattle))
        # a calculator that is used again starts from its last density: forces off by 4e-5 eV/Å
        calculator = TBLite(method="GFN2-xTB", verbosity=0)
        yield computed(atoms, calculator, family, index, local_energies=False)
