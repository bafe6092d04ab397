"""Tests of a dataset: whether forces belong to the energies, and energies grow with size."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from ase import Atoms

from pesloss.data.label_units import ANGSTROM, EV
from pesloss.data.outliers import counts_of, least_absolute
from pesloss.job.errors import PeslossError

Floats = npt.NDArray[np.float64]
ACCEPTED = (0.8, 1.25)  # energy difference over the forces' work; the trapezoid rule is no better
SLACK = 0.1  # of the work, beyond the works with the forces of either end
STEADY = 0.5  # relative difference of the works from both ends up to which they leave little open
FAR = 4.0  # spreads of the ratios, which anharmonic motion widens more than it shifts them
EXPLAINED = (0.1, 3.0)  # ratios that anharmonic motion may leave
LOOSE = 0.5  # relative spread beyond which one factor explains nothing
MIN_PAIRS = 10
MAX_PAIRS = 300
MAX_PAIRS_OF_SPECIES = 60  # of one sequence of species: no trajectory speaks for the dataset alone
MAX_FRAMES_OF_SPECIES = 2000  # the first ones; their arrays are copied
MAX_TRIED = 100_000
MAX_MOVE = 0.3  # Å, root mean square of the atoms' displacements
MIN_CHANGE = 1e-3  # eV; smaller ones are often noise of the calculation
SAME_CELL = 1e-5  # of the longest entry; a strain does work that forces know nothing of
SIGNIFICANT = 0.25  # sum of the works from both ends over their difference
MIN_FRAMES_PER_SPECIES = 5
MIN_SPAN = 2.0  # of the number of atoms, 95th over 5th percentile
TINY = 1e-300
DECISIVE = 2.0  # ratio of the residuals of the fits


@dataclass(frozen=True)
class Pairs:
    """Energy differences, work of the forces and number of atoms of close pairs of frames.

    ``work`` is that of the mean force of both ends (trapezoid rule), ``uneven`` half the difference
    of the works with the forces of either end.
    """

    change: Floats
    work: Floats
    uneven: Floats
    n_atoms: Floats

    @property
    def ratios(self) -> Floats:
        """Energy difference over work."""
        return self.change / self.work

    @property
    def spread(self) -> float:
        """Interquartile range of the ratios over 1.35 (a standard deviation) and their median."""
        low, middle, high = np.percentile(self.ratios, [25, 50, 75])
        return float((high - low) / 1.35 / max(abs(middle), TINY))

    @property
    def impossible(self) -> float:
        """Share of pairs whose energies no force between those of both ends explains.

        Where the force along the way changes in one direction, the change of energy lies between
        the works with the forces of either end, however anharmonic the motion.
        """
        away = np.abs(self.change - self.work) - np.abs(self.uneven)
        return float(np.mean(away > SLACK * np.abs(self.work)))

    def steady(self) -> "Pairs":
        """Return the pairs whose force changes little on the way, or all where they are few."""
        few = np.abs(self.uneven) <= STEADY * np.abs(self.work)
        if few.sum() < MIN_PAIRS:
            return self
        return Pairs(*(getattr(self, field.name)[few] for field in fields(self)))


def check_units(frames: Sequence[Atoms], where: str = "dataset") -> list[str]:
    """Test what can be tested of the units of energies and forces.

    Parameters
    ----------
    frames
        With finite energies (supposed to be eV) and forces (eV/Å), in the order of their files.
    where
        What to call them in an error.

    Returns
    -------
    A line for each test: what was measured, or why nothing could be.

    Raises
    ------
    PeslossError
        One line: forces do not belong to the energies, or energies do not grow with size, and
        which mistake would explain it.
    """
    forces = "forces against energies: not checked: no forces"
    if all("forces" in atoms.calc.results for atoms in frames):
        forces = _check_forces(close_pairs(frames), where)
    return [forces, _check_growth(frames, where)]


def close_pairs(frames: Sequence[Atoms]) -> Pairs:
    """Find pairs of frames with the same atoms in the same cell and slightly moved.

    Consecutive frames come first. Pairs at like heights on either side of a minimum are passed
    over: there the work is a difference of two larger numbers. Nothing here depends on the unit of
    the forces.
    """
    buckets: dict[bytes, list[int]] = defaultdict(list)
    for index, atoms in enumerate(frames):
        buckets[atoms.numbers.tobytes() + atoms.pbc.tobytes()].append(index)
    several = (bucket[:MAX_FRAMES_OF_SPECIES] for bucket in buckets.values() if len(bucket) > 1)
    series = [_Series([frames[index] for index in bucket]) for bucket in several]
    found: list[tuple[Floats, Floats, Floats, Floats]] = []
    n_found = n_tried = 0
    counts = np.zeros(len(series), dtype=int)
    for lag in range(1, MAX_FRAMES_OF_SPECIES):
        for index, one in enumerate(series):
            if len(one) <= lag or counts[index] >= MAX_PAIRS_OF_SPECIES:
                continue
            change, work, uneven = one.pairs(lag, MAX_PAIRS_OF_SPECIES - counts[index])
            n_tried += len(one) - lag
            counts[index] += len(change)
            n_found += len(change)
            found.append((change, work, uneven, np.full(len(change), float(one.n_atoms))))
        longer = any(len(one) > lag + 1 for one in series)
        if not longer or n_found >= MAX_PAIRS or n_tried >= MAX_TRIED:
            break
    parts = zip(*found, strict=True) if found else ([np.zeros(0)] for _ in fields(Pairs))
    return Pairs(*(np.concatenate(part) for part in parts))


class _Series:
    """Frames with the same sequence of species, in their order."""

    def __init__(self, frames: Sequence[Atoms]) -> None:
        self.n_atoms = len(frames[0])
        self.pbc = frames[0].pbc
        self.energy = np.array([atoms.calc.results["energy"] for atoms in frames])
        self.positions = np.array([atoms.positions for atoms in frames])
        self.forces = np.array([atoms.calc.results["forces"] for atoms in frames])
        self.cells = np.array([atoms.cell.array for atoms in frames])

    def __len__(self) -> int:
        return len(self.energy)

    def pairs(self, lag: int, at_most: int) -> tuple[Floats, Floats, Floats]:
        """Return `Pairs` but for the numbers of atoms, of usable pairs ``lag`` frames apart."""
        strained = np.abs(self.cells[lag:] - self.cells[:-lag]).max(axis=(1, 2))
        fixed = strained <= SAME_CELL * np.abs(self.cells[lag:]).max(axis=(1, 2))
        change = self.energy[lag:] - self.energy[:-lag]
        first = np.flatnonzero(fixed & (np.abs(change) >= MIN_CHANGE))
        move = self._moves(first, first + lag)
        near = np.sqrt((move**2).sum(axis=2).mean(axis=1)) <= MAX_MOVE
        first, move = first[near], move[near]
        start, end = (
            -(self.forces[place] * move).sum(axis=(1, 2)) for place in (first, first + lag)
        )
        significant = np.abs(start + end) > SIGNIFICANT * np.abs(start - end)
        usable = np.flatnonzero(significant)[:at_most]
        work, uneven = 0.5 * (start + end), 0.5 * (end - start)
        return change[first[usable]], work[usable], uneven[usable]

    def _moves(self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> Floats:
        """Return displacements by the shortest way, less their mean."""
        move: Floats = self.positions[second] - self.positions[first]
        if self.pbc.any():
            cells = self.cells[first]
            turns = np.round(move @ np.linalg.pinv(cells)) * self.pbc
            move = move - turns @ cells
        centred: Floats = move - move.mean(axis=1, keepdims=True)
        return centred


def _check_forces(pairs: Pairs, where: str) -> str:
    n_pairs = len(pairs.change)
    if n_pairs < MIN_PAIRS:
        return f"forces against energies: not checked: {n_pairs} close pairs, {MIN_PAIRS} needed"
    pairs = pairs.steady()
    n_pairs, median = len(pairs.change), float(np.median(pairs.ratios))
    measured = f"{n_pairs} pairs, energy difference over work of the forces: median {median:.3f}"
    if ACCEPTED[0] <= median <= ACCEPTED[1]:
        return f"forces against energies: {measured}"
    if not _one_factor(pairs):
        return (
            f"forces against energies: not decided: {measured}, spread {pairs.spread:.2g}: the "
            "atoms move too far from frame to frame for the work to be known"
        )
    raise PeslossError(
        f"{where}: energy differences are {median:.4g} times the work of the forces "
        f"(median of {n_pairs} pairs); allowed: {ACCEPTED[0]} to {ACCEPTED[1]}; "
        f"{_explanation(pairs, median)}"
    )


def _one_factor(pairs: Pairs) -> bool:
    """Tell whether a factor is wrong rather than the trapezoid rule.

    Anharmonic motion leaves the energies between the works with the forces of either end, and
    ratios that differ from pair to pair: twice the decay length of the force over the move where
    the force at one end is all.
    """
    low, high = np.percentile(pairs.ratios, [25, 75])
    beyond = high < EXPLAINED[0] or low > EXPLAINED[1]
    median = float(np.median(pairs.ratios))
    if beyond or abs(np.log(max(median, TINY))) > FAR * pairs.spread:
        return True
    return pairs.impossible > 0.5 and pairs.spread <= LOOSE


def _explanation(pairs: Pairs, median: float) -> str:
    """Name the mistakes that would explain the ratio, the best first."""
    per_atom = float(np.median(pairs.ratios * pairs.n_atoms))
    left = {text: median / factor for text, factor in _mistakes()}
    left["energies look like eV/atom"] = per_atom
    fitting = {k: abs(np.log(v)) for k, v in left.items() if ACCEPTED[0] <= v <= ACCEPTED[1]}
    if not fitting:
        return "no mistake of units explains it: other atoms' forces, or another calculation's?"
    return " or ".join(sorted(fitting, key=fitting.__getitem__))


def _mistakes() -> Iterator[tuple[str, float]]:
    """Yield what one mistake would make of the ratio of energy difference to work."""
    yield "forces look like gradients", -1.0
    for unit, factor in EV.items():
        if unit != "eV":
            yield f"forces look like {unit}/Angstrom", factor
            yield f"energies look like {unit}", 1.0 / factor
    bohr = ANGSTROM["Bohr"]
    yield "forces look like eV/Bohr", 1.0 / bohr
    yield "coordinates look like Bohr", bohr
    yield "forces look like Hartree/Bohr", EV["Hartree"] / bohr


def _check_growth(frames: Sequence[Atoms], where: str) -> str:
    """Compare fits of E on numbers of atoms and on fractions: total energies grow with size."""
    test = "growth of the energies with size"
    counts = counts_of(frames)[0]
    n_atoms = counts.sum(axis=1)
    low, high = np.percentile(n_atoms, [5, 95]) if len(frames) else (1.0, 1.0)
    if len(frames) < MIN_FRAMES_PER_SPECIES * max(counts.shape[1], 2):
        return f"{test}: not checked: only {len(frames)} frames of {counts.shape[1]} elements"
    if high < MIN_SPAN * low:
        return f"{test}: not checked: {low:g} to {high:g} atoms are too like each other"
    energy = np.array([atoms.calc.results["energy"] for atoms in frames])
    as_total = _residual(counts, energy)
    as_mean = _residual(counts / n_atoms[:, None], energy)
    # energies that both fits reproduce would otherwise be decided by rounding
    floor = 1e-9 * float(np.abs(energy).max())
    ratio = (as_mean + floor) / (as_total + floor)
    measured = (
        f"mean absolute residual {as_total:.4g} eV when fitted as total energies, {as_mean:.4g} eV "
        "when fitted as energies per atom"
    )
    if ratio < 1 / DECISIVE:
        raise PeslossError(f"{where}: energies look like eV/atom: {measured}")
    if ratio < DECISIVE:
        return f"{test}: not decided: {measured}"
    return f"{test}: {measured}"


def _residual(counts: Floats, energy: Floats) -> float:
    """Return the mean absolute residual of a fit of least absolute deviations.

    A fit of least squares would follow a few structures under extreme pressure.
    """
    return float(np.abs(energy - counts @ least_absolute(counts, energy)).mean())
