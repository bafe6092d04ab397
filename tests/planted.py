"""Small data files with a planted law, as users have them: names of labels, odd frames and all."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

MEAN = {"H": -13.6, "C": -1028.0, "O": -2041.0}  # eV
SIGMA = 0.3  # eV, of each local energy
ETA = 0.7  # eV/Å


def planted(n: int = 40, seed: int = 1, species: tuple[str, ...] = ("H", "C", "O")) -> list[Atoms]:
    """Clusters of 8 to 30 atoms: energies ``Σ n_z μ_z`` ± σ√N, forces of one scale and no sum."""
    rng = np.random.default_rng(seed)
    grid = 2.0 * np.array([(x, y, z) for x in range(3) for y in range(3) for z in range(4)])
    structures = []
    for _ in range(n):
        size = int(rng.integers(8, 31))
        atoms = Atoms(rng.choice(species, size), grid[:size] + rng.normal(0, 0.05, (size, 3)))
        energy = sum(MEAN[symbol] for symbol in atoms.symbols)
        energy += SIGMA * np.sqrt(size) * rng.normal()
        forces = ETA * rng.normal(size=(size, 3))
        forces -= forces.mean(axis=0)
        atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=forces)
        structures.append(atoms)
    return structures


def renamed(structures: list[Atoms], energy: str = "REF_energy", forces: str = "") -> list[Atoms]:
    """The structures with their labels under other names; without a name, without forces."""
    copies = []
    for atoms in structures:
        copy = atoms.copy()
        copy.info[energy] = atoms.calc.results["energy"]
        if forces:
            copy.arrays[forces] = atoms.calc.results["forces"]
        copies.append(copy)
    return copies


def isolated(symbol: str, energy: float) -> Atoms:
    """A reference energy as files of MACE and GAP have it."""
    atoms = Atoms(symbol, info={"config_type": "IsolatedAtom"})
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
    return atoms


def saved(path: Path, structures: list[Atoms]) -> Path:
    """Write extended XYZ."""
    write(path, structures, format="extxyz")
    return path
