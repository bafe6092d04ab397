"""Checks of structures that were read: what is left out and why, and whether the units can be."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from ase import Atoms
from pydantic import Field
from scipy.spatial import cKDTree

from pesloss.data.geometry import near_pairs, overlap, unfit_cell, unfit_species
from pesloss.data.isolated import differing
from pesloss.data.large_forces import about_large_forces
from pesloss.data.means import about_means
from pesloss.data.outliers import IMPOSSIBLE, Assessment, assessed
from pesloss.data.unit_checks import check_units
from pesloss.data.unit_hints import about_energies, about_lengths
from pesloss.job.errors import PeslossError
from pesloss.scales.isolated_atoms import is_isolated
from pesloss.spec.yaml_models import PositiveFloat, PositiveInt, Strict

__all__ = [
    "COLUMNS",
    "Checked",
    "Limits",
    "check_units",
    "checked",
    "source_of",
]

COLUMNS = ["source", "check", "reason"]
NEAR = 4.0  # Å; for which neighbours must be countable where no isolation is asked for
NAMED = 3  # frames left out by a check that are named; the table has all
SAME = 1e-6  # Å; two structures closer than that in every coordinate are one
FREQUENCIES = np.sqrt([2.0, 3.0, 5.0])  # 1/Å, without common period
CELL_WEIGHTS = np.sqrt(np.arange(1.0, 10.0)).reshape(3, 3)
BIN = 1e-4  # of the fingerprint; more than it changes when coordinates change by SAME

STATES = {
    "charge": "charge",
    "total_charge": "charge",
    "tot_charge": "charge",
    "net_charge": "charge",
    "spin": "spin",
    "total_spin": "spin",
    "tot_spin": "spin",
    "magmom": "spin",
    "total_magmom": "spin",
    "multiplicity": "multiplicity",
    "spin_multiplicity": "multiplicity",
}  # keys in info under which codes keep the state of the electrons, in any case of letters


class Limits(Strict):
    """What a structure has to keep to."""

    min_atoms: PositiveInt = Field(1, description="smallest structure")
    max_atoms: PositiveInt | None = Field(None, description="largest structure")
    min_energy_per_atom: float | None = Field(None, description="eV")
    max_energy_per_atom: float | None = Field(None, description="eV")
    max_force: PositiveFloat | None = Field(None, description="norm of an atom's force, eV/Å")
    # errors of the atoms' forces that are independent add up to a sum that grows with sqrt(N)
    max_net_force: PositiveFloat | None = Field(
        0.05, description="norm of the sum of a structure's forces over sqrt(N), eV/Å"
    )
    isolation: PositiveFloat | None = Field(
        4.0, description="distance within which an atom must have a neighbour, Å"
    )
    max_deviation: PositiveFloat | None = Field(
        50.0,
        description="of an energy from what the others lead to expect of its composition, in "
        "robust standard deviations, beyond which it may be absurd; null: none is",
    )
    min_distance: PositiveFloat | None = Field(
        0.15, lt=1, description="of two atoms, over the sum of their covalent radii"
    )


Check = Callable[[Atoms, Limits], str | None]
Placed = list[tuple[int, Atoms]]
"""Frames with their places among those given."""


@dataclass(frozen=True)
class Checked:
    """A set of structures that can be trained on, and what became of the others.

    Attributes
    ----------
    kept
        Structures to train on, in the order given.
    places
        Their places among the frames given.
    isolated
        Isolated atoms with an energy: reference energies (E0), see `pesloss.data.isolated`.
    isolated_places
        Their places among the frames given.
    left_out
        Columns source, check and reason: every other frame.
    notes
        What the reader should know of those kept, a sentence each.
    """

    kept: list[Atoms]
    places: list[int]
    isolated: list[Atoms]
    isolated_places: list[int]
    left_out: pd.DataFrame
    notes: list[str]

    @property
    def unused(self) -> pd.DataFrame:
        """Columns source, check and reason of all that is not kept, isolated atoms included."""
        rows = [
            (source_of(atoms, place), "reference energy", f"an isolated atom of {atoms.symbols[0]}")
            for place, atoms in zip(self.isolated_places, self.isolated, strict=True)
        ]
        return pd.concat([self.left_out, pd.DataFrame(rows, columns=COLUMNS)], ignore_index=True)


def checked(
    frames: Iterable[Atoms],
    limits: Limits | None = None,
    forces: bool | None = None,
    where: str = "data",
    may_be_empty: bool = False,
) -> Checked:
    """Check a training set as a whole: the one border of workflow and command line.

    Parameters
    ----------
    frames
        With energy (eV) and forces (eV/Å) in a calculator, and their source in ``info``.
    limits
        What they have to keep to; the defaults when not given.
    forces
        Whether there have to be forces; None: those that are there are checked.
    where
        What to call the frames in an error: the file or the dataset.
    may_be_empty
        Whether no structure may be left.

    Raises
    ------
    PeslossError
        When no structure is left but may not be, with the number of frames that each check left
        out and the first reason of each; when all energies are zero.
    """
    found = list(frames)
    limits = limits or Limits()
    kept, alone, left_out = _sifted(found, limits, forces)
    assessment = _assessed(kept, limits, where)
    rows = [_row(*kept[i], "energy", reason) for i, reason in assessment.absurd.items()]
    left_out = pd.concat([left_out, pd.DataFrame(rows, columns=COLUMNS)], ignore_index=True)
    kept = [item for i, item in enumerate(kept) if i not in assessment.absurd]
    if not kept and not may_be_empty:
        why = "; ".join([_why(left_out, alone), *about_lengths(found)])
        raise PeslossError(f"{where}: no structure is left of {len(found)}: {why}")
    notes = _about_isolated(alone) + _about_left_out(left_out) + assessment.notes
    if kept:
        structures = [atoms for _, atoms in kept]
        notes += about_lengths(found) + about_energies(structures)
        notes += about_means(structures) + _about_forces(kept, forces)
        if forces is not False:
            notes += about_large_forces(structures, [_name(*item) for item in kept])
    return _result(kept, alone, left_out, notes)


def _result(
    kept: Placed, alone: Placed, left_out: pd.DataFrame, notes: Sequence[str] = ()
) -> Checked:
    return Checked(
        kept=[atoms for _, atoms in kept],
        places=[place for place, _ in kept],
        isolated=[atoms for _, atoms in alone],
        isolated_places=[place for place, _ in alone],
        left_out=left_out,
        notes=list(notes),
    )


def _assessed(kept: Placed, limits: Limits, where: str) -> Assessment:
    frames = [atoms for _, atoms in kept]
    if frames and not any(_results(atoms)["energy"] for atoms in frames):
        raise PeslossError(f"{where}: all {len(frames)} energies are 0 eV: they are no labels")
    names = [_name(place, atoms) for place, atoms in kept]
    return assessed(frames, names, limits.max_deviation)


def _row(place: int, atoms: Atoms, check: str, reason: str) -> tuple[str, str, str]:
    return source_of(atoms, place), check, reason


def _about_left_out(left_out: pd.DataFrame) -> list[str]:
    """Name what was left out by each check, with the first reasons."""
    lines = []
    for check, rows in left_out.groupby("check", sort=False):
        named = [f"{_called(source)}: {reason}" for source, reason in _first(rows)]
        more = "; …" if len(rows) > NAMED else ""
        lines.append(f"{len(rows)} left out by {check}: {'; '.join(named)}{more}")
    return lines


def _why(left_out: pd.DataFrame, alone: Placed) -> str:
    """Count the frames by check, with the first reason of each."""
    rows = left_out.groupby("check", sort=False)
    lines = [
        f"{len(r)} by {name} ({_called(r.source.iloc[0])}: {r.reason.iloc[0]})" for name, r in rows
    ]
    lines += [f"{len(alone)} isolated atoms (reference energies)"] if alone else []
    return "; ".join(lines) or "there was none"


def _first(rows: pd.DataFrame) -> list[tuple[str, str]]:
    few = rows.head(NAMED)
    return list(zip(few.source, few.reason, strict=True))


def _about_isolated(alone: Placed) -> list[str]:
    if not alone:
        return []
    names = [f"{_name(*item)} ({item[1].symbols[0]})" for item in alone[:NAMED]]
    named = ", ".join(names) + (" …" if len(alone) > NAMED else "")
    line = f"{len(alone)} isolated atoms are reference energies (E0), left out: {named}"
    return [line, *differing([atoms for _, atoms in alone])]


def _name(place: int, atoms: Atoms) -> str:
    return _called(source_of(atoms, place))


def _called(source: str) -> str:
    """Return what a sentence calls a frame: a bare number says nothing."""
    return f"frame {source}" if source.isdigit() else source


def _about_forces(kept: Placed, forces: bool | None) -> list[str]:
    lacking = [(place, atoms) for place, atoms in kept if "forces" not in _results(atoms)]
    if forces is False or not lacking:
        return []
    if len(lacking) == len(kept):
        return ["no structure has forces: there is no force scale η"]
    return [
        f"{len(lacking)} of {len(kept)} structures have no forces, the first {_name(*lacking[0])}: "
        "there is no force scale η"
    ]


def _sifted(
    frames: Iterable[Atoms], limits: Limits, forces: bool | None
) -> tuple[Placed, Placed, pd.DataFrame]:
    """Return the frames that pass with their places, isolated atoms, and a table of the others."""
    kept: Placed = []
    alone: Placed = []
    rows: list[tuple[str, str, str]] = []
    seen: dict[tuple[bytes, int], list[Atoms]] = defaultdict(list)
    for index, atoms in enumerate(frames):
        isolated = is_isolated(atoms)
        found = _first_failure(atoms, limits, _checks_for(atoms, isolated, forces))
        if found is None and not isolated:
            found = _duplicate(atoms, seen)
        if found is not None:
            rows.append((source_of(atoms, index), *found))
        elif isolated:
            alone.append((index, atoms))
        else:
            kept.append((index, atoms))
    return kept, alone, pd.DataFrame(rows, columns=COLUMNS)


def _checks_for(atoms: Atoms, isolated: bool, forces: bool | None) -> list[str]:
    """Return the names of the checks of a frame; of an isolated atom only the energy counts."""
    if isolated:
        return list(OF_ISOLATED)
    if forces is None:
        forces = "forces" in _results(atoms)
    return [name for name in CHECKS if forces or name not in OF_FORCES]


def source_of(atoms: Atoms, index: int) -> str:
    """Return the name of a frame: its source, else its structure, else its number."""
    return str(atoms.info.get("source", atoms.info.get("structure", index)))


def _first_failure(atoms: Atoms, limits: Limits, checks: Sequence[str]) -> tuple[str, str] | None:
    for name in checks:
        reason = CHECKS[name](atoms, limits)
        if reason is not None:
            return name, reason
    return None


def _results(atoms: Atoms) -> dict[str, Any]:
    return atoms.calc.results if atoms.calc is not None else {}


def _number_of_atoms(atoms: Atoms, limits: Limits) -> str | None:
    if len(atoms) < limits.min_atoms:
        return f"{len(atoms)} atoms; min_atoms is {limits.min_atoms}"
    if limits.max_atoms is not None and len(atoms) > limits.max_atoms:
        return f"{len(atoms)} atoms; max_atoms is {limits.max_atoms}"
    return None


def _species(atoms: Atoms, _: Limits) -> str | None:
    return unfit_species(atoms)


def _geometry(atoms: Atoms, limits: Limits) -> str | None:
    return unfit_cell(atoms, limits.isolation or NEAR)


def _overlap(atoms: Atoms, limits: Limits) -> str | None:
    return None if limits.min_distance is None else overlap(atoms, limits.min_distance)


def _first_bad(rows: npt.NDArray[np.float64]) -> int:
    return int(np.argmin(np.isfinite(rows).all(axis=1)))


def _energy(atoms: Atoms, limits: Limits) -> str | None:
    energy = _results(atoms).get("energy")
    if energy is None:
        return "the energy is missing"
    if not np.isfinite(energy):
        return f"the energy is {energy}"
    per_atom = float(energy) / len(atoms)
    low, high = limits.min_energy_per_atom, limits.max_energy_per_atom
    if low is not None and per_atom < low:
        return f"{per_atom:.4f} eV per atom; min_energy_per_atom is {low:g}"
    if high is not None and per_atom > high:
        return f"{per_atom:.4f} eV per atom; max_energy_per_atom is {high:g}"
    return None


def _forces(atoms: Atoms, limits: Limits) -> str | None:
    forces = _results(atoms).get("forces")
    if forces is None:
        return "the forces are missing"
    if np.shape(forces) != (len(atoms), 3):
        return f"the forces have shape {np.shape(forces)}, for {len(atoms)} atoms"
    if not np.isfinite(forces).all():
        return f"the force on atom {_first_bad(forces)} is not finite"
    largest = int(np.abs(forces).max(axis=1).argmax())
    if np.abs(forces[largest]).max() > IMPOSSIBLE:
        return f"the force on atom {largest} is beyond {IMPOSSIBLE:g} eV/Å"
    norms = np.linalg.norm(forces, axis=1)
    if limits.max_force is not None and norms.max() > limits.max_force:
        return (
            f"the force on atom {norms.argmax()} is {norms.max():.4f} eV/Å; "
            f"max_force is {limits.max_force:g}"
        )
    return None


def _net_force(atoms: Atoms, limits: Limits) -> str | None:
    net = float(np.linalg.norm(_results(atoms)["forces"].sum(axis=0)))
    if limits.max_net_force is None or net <= limits.max_net_force * np.sqrt(len(atoms)):
        return None
    return (
        f"the forces add up to {net:.4f} eV/Å, {net / np.sqrt(len(atoms)):.4f} eV/Å times sqrt(N); "
        f"max_net_force is {limits.max_net_force:g}"
    )


def _isolated_atom(atoms: Atoms, limits: Limits) -> str | None:
    if limits.isolation is None or len(atoms) == 1:
        return None
    alone = np.setdiff1d(np.arange(len(atoms)), near_pairs(atoms, limits.isolation)[0])
    if not len(alone):
        return None
    more = f" ({len(alone)} such atoms)" if len(alone) > 1 else ""
    return (
        f"atom {alone[0]} ({atoms.symbols[alone[0]]}) has no neighbour within "
        f"{limits.isolation:g} Å{more}"
    )


CHECKS: dict[str, Check] = {
    "number of atoms": _number_of_atoms,
    "species": _species,
    "geometry": _geometry,
    "energy": _energy,
    "forces": _forces,
    "net force": _net_force,
    "isolated atom": _isolated_atom,
    "overlap": _overlap,
}
OF_FORCES = ("forces", "net force")
OF_ISOLATED = ("species", "energy")


def _duplicate(atoms: Atoms, seen: dict[tuple[bytes, int], list[Atoms]]) -> tuple[str, str] | None:
    """Compare with the frames of like fingerprint; when there is no like, remember ``atoms``."""
    species = np.sort(atoms.numbers).tobytes() + atoms.pbc.tobytes() + _state(atoms)
    place = _fingerprint(atoms)
    for near in (place - 1, place, place + 1):
        for other in seen.get((species, near), ()):
            if _same(atoms, other):
                change = _results(atoms)["energy"] - _results(other)["energy"]
                return "duplicate", (
                    f"the same structure as {source_of(other, -1)}; "
                    f"its energy is {change:+.6f} eV from that one's"
                )
    seen[species, place].append(atoms)
    return None


def _state(atoms: Atoms) -> bytes:
    """Return what the frame says of charge and spin; a charge of zero may be left unsaid."""
    said = {key: value for key, value in atoms.info.items() if key.lower() in STATES}
    told = sorted((STATES[key.lower()], str(_as_number(value))) for key, value in said.items())
    return repr([item for item in told if item != ("charge", "0.0")]).encode()


def _as_number(value: object) -> object:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


def _fingerprint(atoms: Atoms) -> int:
    """Return a number that depends on no order and moves by less than one when nothing moves."""
    waves = np.cos(atoms.positions @ FREQUENCIES).mean()
    return int(np.floor((waves + np.sum(CELL_WEIGHTS * atoms.cell.array)) / BIN))


def _same(first: Atoms, second: Atoms) -> bool:
    if np.abs(first.cell.array - second.cell.array).max() > SAME:
        return False
    nearest: Sequence[int] = cKDTree(second.positions).query(first.positions, p=np.inf)[1]
    return (
        len(set(nearest)) == len(first)
        and bool(np.abs(first.positions - second.positions[nearest]).max() <= SAME)
        and bool((first.numbers == second.numbers[nearest]).all())
    )
