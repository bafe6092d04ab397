"""Energies that are not what composition leads to expect: frames and whole groups, by name."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from pesloss.data.geometry import near_pairs

__all__ = [
    "Assessment",
    "Deviations",
    "Group",
    "assessed",
    "counts_of",
    "deviations",
    "least_absolute",
    "off_groups",
]

Floats = npt.NDArray[np.float64]
IMPOSSIBLE = 1e6  # eV/atom; all electrons of uranium are bound by 8e5 eV
LEAST_FREEDOM = 8  # structures more than means, below which nothing is far from anything
LEAST_SPREAD = 1e-3  # eV/√atom; energies are seldom converged better
FAR = 10.0  # robust standard deviations of what is named
AMISS = 1.0  # eV/atom beyond which an energy belongs to another structure, if that looks usual
UNBOUND = 15.0  # eV/atom beyond which no bonds made or broken explain it: 8.9 in tungsten
MOST_ABSURD = 0.2  # share of the frames; were there more, the majority itself would be in doubt
SAME_PLACE = 0.8  # share of a group's frames on one side, that makes it the group's deviation
SMALLEST_GROUP = 3
LEAST_OFFSET = 1.0  # eV/atom of a group
REACH = 1.3  # of the sum of covalent radii; atoms closer than that are bonded
N_USUAL = 300  # frames that say what structures are usual
NAMED = 5  # farthest frames that are named
N_REWEIGHTINGS = 50
TINY = 1e-300
NO_GROUPS = ("source", "structure", "file_source")


@dataclass(frozen=True)
class Deviations:
    """Energies of S structures against a robust fit of their compositions.

    Attributes
    ----------
    expected
        (S,) ``Σ n_z μ_z``, eV; NaN where energies are too few to expect anything.
    spread
        (S,) robust standard deviation of an energy from that, which grows as √N, eV.
    difference
        (S,) energy less what is expected, eV.
    n_atoms
        (S,)
    """

    expected: Floats
    spread: Floats
    difference: Floats
    n_atoms: Floats

    @property
    def relative(self) -> Floats:
        """Differences in units of the spread."""
        return self.difference / self.spread

    @property
    def per_atom(self) -> Floats:
        """Differences over numbers of atoms, eV."""
        return self.difference / self.n_atoms


def counts_of(frames: Sequence[Atoms]) -> tuple[Floats, list[str]]:
    """Return the (S, Z) composition of frames and the Z symbols of the elements there are."""
    numbers = [np.bincount(atoms.numbers, minlength=len(chemical_symbols)) for atoms in frames]
    counts = np.array(numbers, dtype=float).reshape(len(frames), len(chemical_symbols))
    present = np.flatnonzero(counts.any(axis=0))
    return counts[:, present], [str(chemical_symbols[z]) for z in present]


def deviations(counts: Floats, energy: Floats) -> Deviations:
    """Fit the means by least absolute deviations of ``E / √N``, and then without what is far.

    The spread is the median of the absolute deviations over 0.6745, as of normal numbers; a fit
    with Z means passes through Z of them, which are not counted.

    Parameters
    ----------
    counts, energy
        (S, Z) composition and (S,) energies, eV, below 10⁶ eV/atom.
    """
    n_atoms = counts.sum(axis=1)
    design, target = counts / np.sqrt(n_atoms)[:, None], energy / np.sqrt(n_atoms)
    rank = int(np.linalg.matrix_rank(design)) if len(design) else 0
    if len(energy) - rank < LEAST_FREEDOM:
        nothing = np.full(len(energy), np.nan)
        return Deviations(nothing, np.full(len(energy), np.inf), nothing, n_atoms)
    means: Floats = least_absolute(design, target)
    spread = _robust_spread(target - design @ means, rank)
    near = np.abs(target - design @ means) <= FAR * spread
    if np.linalg.matrix_rank(design[near]) == rank:
        means = _floats(np.linalg.lstsq(design[near], target[near], rcond=None)[0])
        spread = _robust_spread(target - design @ means, rank)
    expected = counts @ means
    return Deviations(expected, spread * np.sqrt(n_atoms), energy - expected, n_atoms)


def least_absolute(design: Floats, target: Floats) -> Floats:
    """Return the (Z,) means of least absolute deviations, by iteratively reweighted least squares.

    Parameters
    ----------
    design, target
        (S, Z) and (S,).
    """
    weights = np.ones(len(target))
    means: Floats = np.zeros(design.shape[1])
    for _ in range(N_REWEIGHTINGS):
        weighted = design.T * weights
        following = _floats(np.linalg.lstsq(weighted @ design, weighted @ target, rcond=None)[0])
        settled = bool(np.allclose(following, means, rtol=1e-9, atol=1e-9))
        means = following
        if settled:
            break
        error = np.abs(target - design @ means)
        # the floor keeps weights finite where the fit passes through a structure
        weights = 1 / np.maximum(error, 1e-6 * float(np.median(error)) + 1e-12 * error.max() + TINY)
        weights /= weights.max()
    return means


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _robust_spread(error: Floats, rank: int) -> float:
    free = np.sort(np.abs(error))[rank:]
    return max(float(np.median(free)) / 0.6745, LEAST_SPREAD)


@dataclass(frozen=True)
class Assessment:
    """What the energies of a set of frames say: reasons against some by place, and notes."""

    absurd: dict[int, str]
    notes: list[str]


def assessed(frames: Sequence[Atoms], names: Sequence[str], limit: float | None) -> Assessment:
    """Find the frames whose energies cannot belong to them, and name what is far from expected.

    Parameters
    ----------
    frames
        S frames with finite energies, eV.
    names
        What to call them.
    limit
        Robust standard deviations beyond which an energy may be absurd; None: all are kept.

    Returns
    -------
    An energy is absurd beyond a million eV/atom. It is, too, when it is further than ``limit``
    from what its composition leads to expect, and besides by more than any bonds (15 eV/atom)
    though atoms are not closer than in other frames, or by more than 1 eV/atom though the
    structure is like the others: its shortest distance and number of neighbours lie within theirs.
    A group that deviates as a whole by less than 15 eV/atom is named and kept, and so is
    everything where more than a fifth would be absurd.
    """
    energy = np.array([atoms.calc.results["energy"] for atoms in frames], dtype=np.float64)
    n_atoms = np.array([len(atoms) for atoms in frames])
    possible = np.flatnonzero(np.abs(energy) <= IMPOSSIBLE * n_atoms)
    chosen, called = [frames[i] for i in possible], [names[i] for i in possible]
    found = deviations(counts_of(chosen)[0], energy[possible])
    groups = off_groups(chosen, found)
    left_out = {} if limit is None else _absurd(chosen, found, groups, limit)
    told = set(left_out) | {i for group in groups for i in group.members}
    notes = [group.sentence for group in groups] + _about_far(called, found, told)
    reasons = {int(possible[i]): reason for i, reason in left_out.items()}
    for i in set(range(len(frames))) - set(possible.tolist()) if limit is not None else ():
        reasons[i] = f"the energy is {energy[i]:.6g} eV; no atoms have more than 10⁶ eV each"
    return Assessment(dict(sorted(reasons.items())), notes)


def _absurd(
    frames: Sequence[Atoms], found: Deviations, groups: Sequence["Group"], limit: float
) -> dict[int, str]:
    whole = {i for group in groups if abs(group.offset) <= UNBOUND for i in group.members}
    far = np.abs(found.relative) > limit
    amiss = np.abs(found.per_atom) > AMISS
    doubtful = [int(i) for i in np.flatnonzero(far & amiss) if int(i) not in whole]
    if not doubtful or len(doubtful) > MOST_ABSURD * len(frames):
        return {}
    usual = _usual(frames, found)
    cannot = [i for i in doubtful if _is_absurd(frames[i], found, i, usual)]
    return {i: _reason(found, i) for i in cannot}


def _reason(found: Deviations, i: int) -> str:
    return (
        f"the energy is {found.expected[i] + found.difference[i]:.4f} eV; expected from the other "
        f"structures: {found.expected[i]:.4f} ± {found.spread[i]:.2g} eV "
        f"({found.per_atom[i]:+.4g} eV/atom)"
    )


def _is_absurd(atoms: Atoms, found: Deviations, i: int, usual: Floats) -> bool:
    low, high = usual.min(axis=0), usual.max(axis=0)
    shape = _shape(atoms)
    if bool(((shape >= low) & (shape <= high)).all()):
        return True
    return bool(abs(found.per_atom[i]) > UNBOUND and shape[0] >= low[0])


def _usual(frames: Sequence[Atoms], found: Deviations) -> Floats:
    """Return the shapes of frames whose energies are as expected, evenly spread over them."""
    near = np.flatnonzero(np.abs(found.relative) <= FAR)
    chosen = near[np.unique(np.linspace(0, len(near) - 1, N_USUAL).astype(int))]
    return np.array([_shape(frames[i]) for i in chosen])


def _shape(atoms: Atoms) -> Floats:
    """Return the shortest distance over the sum of covalent radii, and neighbours per atom."""
    radii = covalent_radii[atoms.numbers]
    first, second, distance = near_pairs(atoms, 2 * REACH * float(radii.max()))
    relative = distance / (radii[first] + radii[second])
    bonded = relative < REACH
    return np.array([relative.min(initial=np.inf), bonded.sum() / len(atoms)])


def _about_far(names: Sequence[str], found: Deviations, told: set[int]) -> list[str]:
    """Name the frames whose energies are far from what is expected, the farthest first."""
    relative = np.abs(found.relative)
    far = [int(i) for i in np.flatnonzero(relative > FAR) if int(i) not in told]
    if not far:
        return []
    far.sort(key=lambda i: -relative[i])
    named = [
        f"{names[i]}: {found.expected[i] + found.difference[i]:.4f} eV, expected "
        f"{found.expected[i]:.4f} ± {found.spread[i]:.2g}"
        for i in far[:NAMED]
    ]
    return [
        f"{len(far)} of {len(names)} energies are more than {FAR:g} robust standard deviations "
        f"from what composition leads to expect: {'; '.join(named)}"
        f"{'; …' if len(far) > NAMED else ''}"
    ]


@dataclass(frozen=True)
class Group:
    """A group of frames whose energies deviate together."""

    key: str
    value: str
    members: tuple[int, ...]
    offset: float
    spread: float
    n_frames: int

    @property
    def sentence(self) -> str:
        """Return what is to be said of it, with its offset in eV/atom."""
        return (
            f"{self.key} {self.value}: its {len(self.members)} of {self.n_frames} energies lie "
            f"{self.offset:+.3g} eV/atom (median) from the others, at the same composition, where "
            f"{self.spread:.2g} eV/atom are usual: another method, reference or unit, or another "
            "kind of structure?"
        )


def off_groups(frames: Sequence[Atoms], found: Deviations) -> list[Group]:
    """Return the groups by any text in ``info`` that deviate by more than their own spread."""
    if not np.isfinite(found.expected).all():
        return []
    groups = []
    taken: set[tuple[int, ...]] = set()
    for key, value, members in _groups(frames):
        group = _group(key, value, members, found)
        if group is not None and members not in taken:
            taken.add(members)
            groups.append(group)
    return groups


def _group(key: str, value: str, members: tuple[int, ...], found: Deviations) -> Group | None:
    own = found.per_atom[list(members)]
    others = np.delete(found.per_atom, list(members))
    offset = float(np.median(own) - np.median(others))
    spread = max(
        float(np.median(np.abs(others - np.median(others)))) / 0.6745,
        float(np.median(np.abs(own - np.median(own)))) / 0.6745,
    )
    together = float(np.mean(np.sign(own - np.median(others)) == np.sign(offset)))
    if abs(offset) > max(LEAST_OFFSET, FAR / 2 * spread) and together >= SAME_PLACE:
        return Group(key, value, members, offset, spread, len(found.per_atom))
    return None


def _groups(frames: Sequence[Atoms]) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return key, value and members of all groups of three and more that are not the majority."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, atoms in enumerate(frames):
        for key, value in atoms.info.items():
            if isinstance(value, str) and key not in NO_GROUPS:
                places[key, value].append(i)
    keys = Counter(key for key, _ in places)
    several = {key for key, count in keys.items() if count > 1}
    return [
        (key, value, tuple(members))
        for (key, value), members in places.items()
        if key in several and SMALLEST_GROUP <= len(members) < len(frames) / 2
    ]
