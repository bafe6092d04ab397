"""Trajectories cut into blocks of time: frames that follow each other stay in one split."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from ase import Atoms

from pesloss.data.grouping import BLOCKS, SIMILAR, GroupRule
from pesloss.job.errors import PeslossError

N_SPLITS = 3  # training, validation and test
WINDOW = 5.0  # autocorrelation times that the sum of autocorrelations runs over
LONG_ENOUGH = 50.0  # autocorrelation times; a shorter trajectory underestimates them
TIMES_IN_A_BLOCK = 10.0  # a tenth of the frames is then correlated with the neighbouring blocks
IN_GAP = "in the gap between two blocks of a trajectory (gap: {})"


@dataclass(frozen=True)
class Cut:
    """Structures in blocks.

    Attributes
    ----------
    structures
        With the name of their block in the key group where their trajectory was cut.
    in_gaps
        Name and reason of each structure that was left out between two blocks.
    notes
        Which trajectories were cut, into what, and why, in sentences.
    """

    structures: list[Atoms]
    in_gaps: list[tuple[str, str]]
    notes: list[str]


def correlation_time(energy: npt.ArrayLike) -> float | None:
    """Return the integrated autocorrelation time of a series, frames.

    1 + 2 Σ ρ(t), at least 1, summed over a window of five times itself (Sokal, Monte Carlo methods
    in statistical mechanics, 1997); None where the series is constant, not finite, or shorter than
    fifty such times, since short series give too short a time.

    Parameters
    ----------
    energy
        (T,) values at equal steps of time.
    """
    series = np.asarray(energy, dtype=float)
    n = len(series)
    if n < LONG_ENOUGH or not np.isfinite(series).all():
        return None
    series = series - series.mean()
    transform = np.fft.rfft(series, 2 * n)
    covariance = np.fft.irfft(transform * transform.conj())[:n]
    if covariance[0] <= n * (1e-12 * max(float(np.abs(energy).max()), 1e-300)) ** 2:
        return None
    times = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    window = int(np.argmax(np.arange(n) >= WINDOW * times))
    time = max(float(times[window]), 1.0)
    return time if n >= LONG_ENOUGH * time else None


def cut(
    drawn: Sequence[Atoms],
    there: Sequence[Atoms],
    rules: Mapping[str, GroupRule],
    rarest: int,
) -> Cut:
    """Cut trajectories into blocks: those of the rule ``blocks``, and of ``similar`` if need be.

    A group by ``similar`` is cut where a species, or all structures, would else be in too few
    groups. A block holds ten autocorrelation times of the energy, where the trajectory tells them,
    but no trajectory is cut into fewer blocks than are needed.

    Parameters
    ----------
    drawn
        The structures that are used, with energy (eV) and the ``info`` keys structure and group.
    there
        All structures there are, in the order of time; ``drawn`` are some of them.
    rules
        Rule of each group.
    rarest
        Number of groups that a species has to be in.

    Raises
    ------
    PeslossError
        When a gap leaves nothing of a block.
    """
    needed = _needed(drawn, rules, rarest)
    if not needed:
        return Cut(list(drawn), [], [])
    members = _members(there, needed)
    used = {id(atoms) for atoms in drawn}
    in_gaps: list[tuple[str, str]] = []
    pieces = [_Trajectory(name, members[name], used, rules[name]) for name in needed]
    for piece in pieces:
        in_gaps += piece.cut(needed[piece.name])
    lost = {name for name, _ in in_gaps}
    kept = [atoms for atoms in drawn if atoms.info["structure"] not in lost]
    return Cut(kept, in_gaps, _notes(pieces, len(in_gaps), drawn, rarest))


def _needed(drawn: Sequence[Atoms], rules: Mapping[str, GroupRule], rarest: int) -> dict[str, int]:
    """Return the groups to cut, with the number of blocks that each has to give."""
    needed: dict[str, int] = {}
    for species, sizes in _sizes(drawn).items():
        wanted = max(rarest, 1) if species else N_SPLITS
        able = {g: n for g, n in sizes.items() if BLOCKS in rules[g].by}
        if len(sizes) < wanted:
            able |= {g: n for g, n in sizes.items() if SIMILAR in rules[g].by}
        wanted -= len(sizes) - len(able)
        total = sum(able.values())
        for group, n in able.items():
            share = ceil(wanted * n / total) if total >= wanted > 0 else 1
            if share > 1 or BLOCKS in rules[group].by:
                needed[group] = max(needed.get(group, 1), share)
    return needed


def _sizes(drawn: Sequence[Atoms]) -> dict[str, dict[str, int]]:
    """Count the structures of each group by species, and of all under the empty name."""
    sizes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for atoms in drawn:
        for species in ("", *sorted(set(atoms.symbols))):
            sizes[species][str(atoms.info["group"])] += 1
    return sizes


def _members(there: Sequence[Atoms], groups: Collection[str]) -> dict[str, list[Atoms]]:
    members: dict[str, list[Atoms]] = {name: [] for name in groups}
    for atoms in there:
        if atoms.info["group"] in members:
            members[str(atoms.info["group"])].append(atoms)
    return members


class _Trajectory:
    """A group, in the order of time."""

    def __init__(
        self, name: str, members: Sequence[Atoms], used: Collection[int], rule: GroupRule
    ) -> None:
        self.name, self.rule, self.members = name, rule, members
        self.places = [i for i, atoms in enumerate(members) if id(atoms) in used]
        self.time = correlation_time([atoms.calc.results["energy"] for atoms in members])
        self.sizes: list[int] = []

    def _n_blocks(self, needed: int) -> int:
        if self.rule.n_blocks is not None:
            return min(self.rule.n_blocks, len(self.places))
        length = TIMES_IN_A_BLOCK * (self.time or np.inf)
        return min(max(int(len(self.members) / length), needed, 1), len(self.places))

    def cut(self, needed: int) -> list[tuple[str, str]]:
        """Name the blocks in the members; return what falls into gaps, with the reason."""
        lost: list[tuple[str, str]] = []
        last = -np.inf
        for number, block in enumerate(np.array_split(self.places, self._n_blocks(needed))):
            free = [int(place) for place in block if place - last > self.rule.gap]
            if not free:
                raise PeslossError(
                    f"groups: a gap of {self.rule.gap} frames leaves nothing of a block of "
                    f"{len(block)} frames of {self.name}; allowed: less, or fewer blocks"
                )
            reason = IN_GAP.format(self.rule.gap)
            lost += [(str(self.members[p].info["structure"]), reason) for p in block[: -len(free)]]
            for place in free:
                self.members[place].info["group"] = f"{self.name}#{number}"
            self.sizes.append(len(free))
            last = free[-1]
        return lost


def _notes(
    pieces: Sequence[_Trajectory], n_lost: int, drawn: Sequence[Atoms], rarest: int
) -> list[str]:
    several = [piece for piece in pieces if len(piece.sizes) > 1]
    if not several:
        return []
    sizes = [size for piece in several for size in piece.sizes]
    first = several[0]
    frames = f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{min(sizes)}"
    notes = [
        f"groups: {_counted(len(several), 'trajectory', 'trajectories')} cut into {len(sizes)} "
        f"blocks of {frames} frames ({_why(several, rarest)}); the first is {first.name}, "
        f"{_about_time(first)}"
    ]
    gap = max(piece.rule.gap for piece in several)
    if gap:
        notes.append(f"groups: {n_lost} frames left out in gaps of {gap} between blocks")
    else:
        n_borders = len(sizes) - len(several)
        notes.append(
            f"groups: no frames are left out at the {_counted(n_borders, 'border', 'borders')} "
            "between blocks, so neighbours in different splits are alike; `gap` leaves some out"
        )
    return notes


def _why(several: Sequence[_Trajectory], rarest: int) -> str:
    asked = sum(BLOCKS in piece.rule.by for piece in several)
    if asked == len(several):
        return "asked for"
    return (
        f"`groups: similar` makes one group of each, too few for {N_SPLITS} splits and "
        f"`rarest: {rarest}`"
    )


def _about_time(piece: _Trajectory) -> str:
    if piece.time is None:
        return (
            f"whose {len(piece.members)} frames do not tell the autocorrelation time of the "
            "energy: blocks may be shorter than it"
        )
    short = min(piece.sizes) < piece.time
    return f"whose energy has an autocorrelation time of {piece.time:.1f} frames" + (
        ": blocks are shorter" if short else ""
    )


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
