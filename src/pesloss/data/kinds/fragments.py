"""Rattled molecules far apart, whose energies add up: local energies independent by construction.

Each molecule is displaced and computed by itself with GFN2-xTB (tblite; C. Bannwarth, S. Ehlert and
S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019)); the label of a structure is the sum of theirs.
They are farther apart than any model sees, so that a model's predictions add up as well.

With as many kinds of molecules as elements, and independent formulas, ``Σ n_z μ_z`` is the exact
mean energy of every composition. What is left of an energy is what the displacements make of it.
``moments`` tells what that is for single molecules, and ``scales`` what follows for structures:

- one amplitude for all: ``Var(E − Σ n_z μ_z) = Σ_m k_m Var(e_m)`` with ``k_m`` molecules m;
- an amplitude ``a`` drawn for each structure: beside the mean of that over ``a`` there is
  ``Var_a(Σ_m k_m ⟨e_m⟩_a)``, which all molecules of a structure share and which grows as N².
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.collections import g2
from ase.units import Bohr, Hartree
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator
from scipy.spatial.transform import Rotation
from tblite import interface

from pesloss.data import molecules
from pesloss.data.families import (
    Built,
    Family,
    between,
    computed,
    dealt_out,
    log_even,
    rattles,
    twins,
)
from pesloss.spec.yaml_models import Count, PositiveFloat, Range, Strict

Array = NDArray[np.float64]
FARTHEST = 6.0  # standard deviations: a displacement beyond is not met in a billion
NODES = 5  # amplitudes at which the mean over amplitudes is taken, by Gauss and Legendre


def _known(name: str) -> str:
    if name not in g2.names:
        raise ValueError("no molecule of ASE's g2 set")
    return name


Molecule = Annotated[str, AfterValidator(_known)]


class Recipe(Strict):
    """Parameters of the generator."""

    molecules: tuple[Molecule, ...] = Field(
        ("H2O", "CH4", "NH3", "CH3OH"), min_length=1, description="each with the same probability"
    )
    rattle: Range = Field(
        (0.03, 0.03),
        description="limits of the displacement's standard deviation, Å, drawn uniformly for each "
        "structure; equal: one for all",
    )
    n_twins: Count = Field(2, description="structures of the same molecules")
    max_molecules: Count = Field(64, le=1000, description="most molecules; fewest: one")
    gap: PositiveFloat = Field(
        10.0, description="least distance of atoms of two molecules, Å; more than models see"
    )

    @model_validator(mode="after")
    def _molecules_are_moved(self) -> Self:
        if self.rattle[0] == 0:
            raise ValueError("rattle is 0; allowed: above 0, or all energies are alike")
        return self


def plan(recipe: Recipe, n_structures: int, rng: np.random.Generator) -> list[Family]:
    """Choose numbers of molecules; see ``pesloss.data.kinds``."""
    per_family = dealt_out(n_structures, recipe.n_twins)
    numbers = log_even(len(per_family), 1, recipe.max_molecules)
    return [
        Family(f"fragments_{i:04d}", "fragments", n, float(n * k), {"n_molecules": k})
        for i, (n, k) in enumerate(zip(per_family, numbers, strict=True))
    ]


def build(recipe: Recipe, family: Family, rng: np.random.Generator) -> Iterator[Built]:
    """Draw the molecules of a family, place and compute them; see ``pesloss.data.kinds``."""
    names = rng.choice(recipe.molecules, size=int(family.what["n_molecules"]))
    parts = [molecules.named(str(name)) for name in names]
    sites = _sites(len(parts), _spacing(recipe))
    calculator = Sum([len(part) for part in parts])
    for index in twins(family):
        amplitude = between(rng, recipe.rattle)
        placed = [
            moved.positions @ _turn(rng) + site
            for moved, site in zip(
                (rattled(part, amplitude, rng) for part in parts), sites, strict=True
            )
        ]
        symbols = [symbol for part in parts for symbol in part.symbols]
        atoms = Atoms(symbols, np.concatenate(placed))
        yield computed(atoms, calculator, family, index, local_energies=False)


def rattled(molecule: Atoms, amplitude: float, rng: np.random.Generator) -> Atoms:
    """Return the molecule about its centre, its atoms displaced."""
    centred = molecule.positions - molecule.positions.mean(axis=0)
    return Atoms(molecule.symbols, centred + rattles(rng, len(molecule), amplitude))


def _turn(rng: np.random.Generator) -> Array:
    """Draw a rotation, for rows of positions."""
    turn: Array = Rotation.from_quat(rng.normal(size=4)).as_matrix()
    return turn


def _spacing(recipe: Recipe) -> float:
    """Return the edge of the grid, Å, at which the gap is kept."""
    parts = [molecules.named(name).positions for name in recipe.molecules]
    radius = max(np.linalg.norm(p - p.mean(axis=0), axis=1).max() for p in parts)
    return float(recipe.gap + 2 * (radius + np.sqrt(3) * FARTHEST * recipe.rattle[1]))


def _sites(n: int, spacing: float) -> Array:
    side = int(np.ceil(np.cbrt(n) - 1e-9))
    grid = np.stack(np.unravel_index(np.arange(n), (side, side, side)), axis=1)
    return np.asarray(spacing * grid, dtype=np.float64)


class Sum(Calculator):
    """GFN2-xTB energy (eV) and forces (eV/Å) of molecules that do not feel each other."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ends = np.cumsum(sizes)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute each molecule by itself."""
        assert atoms is not None
        self.atoms = atoms.copy()
        starts = [0, *self.ends[:-1]]
        found = [_xtb(atoms[i:j]) for i, j in zip(starts, self.ends, strict=True)]
        energies, forces = zip(*found, strict=True)
        self.results = {"energy": float(np.sum(energies)), "forces": np.concatenate(forces)}


def _xtb(molecule: Atoms) -> tuple[float, Array]:
    engine = interface.Calculator("GFN2-xTB", molecule.numbers, molecule.positions / Bohr)
    engine.set("verbosity", 0)
    result: Any = engine.singlepoint()
    return result.get("energy") * Hartree, -result.get("gradient") * Hartree / Bohr


@dataclass(frozen=True)
class Moments:
    """Mean (eV) and variance (eV²) of molecules' energies [amplitudes, molecules]."""

    weights: Array
    """Probabilities of the amplitudes."""
    mean: Array
    variance: Array


def moments(recipe: Recipe, n: int, rng: np.random.Generator) -> Moments:
    """Measure single molecules, ``n`` of each kind and amplitude.

    Amplitudes are those at which an integral over the recipe's range is taken by Gauss and
    Legendre's rule; one where the recipe has one.
    """
    low, high = recipe.rattle
    nodes, weights = np.polynomial.legendre.leggauss(NODES if high > low else 1)
    amplitudes = (low + high) / 2 + (high - low) / 2 * nodes
    energies = np.array(
        [
            [
                [_xtb(rattled(molecules.named(name), a, rng))[0] for _ in range(n)]
                for name in recipe.molecules
            ]
            for a in amplitudes.tolist()
        ]
    )
    return Moments(weights / 2, energies.mean(axis=2), energies.var(axis=2, ddof=1))


def scales(recipe: Recipe, found: Moments) -> tuple[float, float]:
    """Return σ and τ, eV, of structures with all molecules in equal numbers.

    ``σ² = Σ_m ⟨Var(e_m)⟩ / Σ_m n_m`` and ``τ² = Var(Σ_m ⟨e_m⟩) / (Σ_m n_m)²``, means and the second
    variance being over amplitudes.
    """
    n_atoms = sum(len(molecules.named(name)) for name in recipe.molecules)
    own = float(found.weights @ found.variance.sum(axis=1))
    total = found.mean.sum(axis=1)
    shared = float(found.weights @ (total - found.weights @ total) ** 2)
    return float(np.sqrt(own / n_atoms)), float(np.sqrt(shared)) / n_atoms
