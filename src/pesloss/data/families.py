"""Families: structures that belong together and are generated and split as one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from pydantic import AfterValidator

from pesloss.job.surroundings import pass_on

DECIMALS = 8  # of the coordinates in the file: the geometry computed is the geometry stored
Item = TypeVar("Item")
Name = TypeVar("Name", bound=str)


def _known(symbol: str) -> str:
    if symbol not in chemical_symbols[1:]:
        raise ValueError("not the symbol of a chemical element")
    return symbol


Symbol = Annotated[str, AfterValidator(_known)]


@dataclass(frozen=True)
class Family:
    """A trajectory, a crystal with its rattled versions, a molecule with its rattled twins."""

    id: str
    phase: str
    n_structures: int
    cost: float
    """Expected time, in units of one's own choice: families are dealt to jobs by it."""
    what: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of this family that only its kind understands."""


@dataclass(frozen=True)
class Failure:
    """A structure that could not be computed, and why."""

    structure: str
    reason: str


Built = Atoms | Failure


def name_of(family: Family, index: int) -> str:
    """Return the id of structure ``index`` of ``family``."""
    return f"{family.id}-{index:03d}"


def rounded(atoms: Atoms) -> Atoms:
    """Round positions and cell to what the file holds, so that stored energies belong to it."""
    atoms.set_cell(np.round(atoms.cell.array, DECIMALS))
    atoms.positions = np.round(atoms.positions, DECIMALS)
    return atoms


def computed(
    atoms: Atoms, calculator: Calculator, family: Family, index: int, local_energies: bool = True
) -> Built:
    """Return a labelled copy of ``atoms``, or the failure of its calculation.

    Parameters
    ----------
    atoms
        Geometry; rounded first.
    calculator
        ASE calculator of energy (eV) and forces (eV/Å).
    family, index
        Which structure of which family this is.
    local_energies
        Whether the calculator has energies per atom (eV), kept as the array ``local_energy``.
    """
    labelled = rounded(Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))
    trial = labelled.copy()
    trial.calc = calculator
    try:
        energy, forces = trial.get_potential_energy(), trial.get_forces()
    except Exception as error:  # each code has its own exceptions; all are counted and named
        pass_on(error, name_of(family, index), "labelled")
        return Failure(name_of(family, index), _reason(error))
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        return Failure(name_of(family, index), "energy or forces are not finite")
    if local_energies:
        labelled.set_array("local_energy", np.array(trial.get_potential_energies()))
    labelled.calc = SinglePointCalculator(labelled, energy=float(energy), forces=forces)
    labelled.info.update(structure=name_of(family, index), group=family.id, phase=family.phase)
    return labelled


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def shared_out(total: int, shares: Mapping[Name, float]) -> dict[Name, int]:
    """Divide ``total`` in whole numbers in proportion to ``shares`` (largest remainders)."""
    weights = np.array(list(shares.values()), dtype=float)
    exact = total * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return dict(zip(shares, counts.tolist(), strict=True))


def dealt_out(total: int, per_family: int) -> list[int]:
    """Divide ``total`` structures as evenly as possible over families of about ``per_family``."""
    n_families = -(-total // per_family)
    return [total // n_families + (i < total % n_families) for i in range(n_families)]


def log_spaced(members: Sequence[Item], size_of: Sequence[float], n: int) -> list[Item]:
    """Choose at most ``n`` of ``members``, spread evenly over the logarithm of their size."""
    if n >= len(members):
        return list(members)
    logs = np.log(np.asarray(size_of, dtype=float))
    left = list(range(len(members)))
    chosen = []
    for target in np.linspace(logs.min(), logs.max(), n):
        best = min(left, key=lambda i: abs(logs[i] - target))
        left.remove(best)
        chosen.append(best)
    return [members[i] for i in sorted(chosen)]


def log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw a whole number from ``low`` to ``high``, both included, uniform in its logarithm."""
    return int(np.clip(np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1)))), low, high))


def log_even(n: int, low: int, high: int) -> list[int]:
    """Return ``n`` whole numbers from ``low`` to ``high``, evenly spread in their logarithm."""
    steps = (np.arange(n) + 0.5) / max(n, 1)
    logs = np.log(low) + steps * (np.log(high + 1) - np.log(low))
    return [int(size) for size in np.clip(np.floor(np.exp(logs)), low, high)]


def rattles(rng: np.random.Generator, n_atoms: int, amplitude: float) -> npt.NDArray[np.float64]:
    """Draw displacements [n_atoms, 3], Å, normal with standard deviation ``amplitude``."""
    return rng.normal(0.0, amplitude, size=(n_atoms, 3))


def between(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Draw a number between ``limits``; when both are equal, return that."""
    return float(rng.uniform(*limits))


def twins(family: Family) -> Iterator[int]:
    """Yield the indices of the structures of ``family``."""
    yield from range(family.n_structures)
