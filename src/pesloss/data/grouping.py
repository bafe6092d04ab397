"""Which structures belong together, so that no split separates them, and what phase they are."""

import re
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from pydantic import Field, field_validator, model_validator
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pesloss.data.checks import source_of
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.spec.yaml_models import PositiveFloat, PositiveInt, Strict

INFO = "info:"
SIMILAR, BLOCKS = "similar", "blocks"
GROUP_RULES = ("info:KEY", "source", "formula", SIMILAR, BLOCKS, "none")
PHASE_RULES = ("info:KEY", "source", "constant")
LOOK_BACK = 5  # frames; some files alternate between two trajectories


def _is_info(rule: str) -> bool:
    return rule.startswith(INFO) and len(rule) > len(INFO)


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
    return pattern


class GroupRule(Strict):
    """How structures are grouped."""

    by: tuple[str, ...] = Field(
        min_length=1,
        description="info:KEY (a value the file has), source (one group a file), formula, similar "
        "(consecutive frames of a file that differ little), blocks (frames of the same atoms in a "
        "file are one trajectory, cut into blocks of time) or none (each alone); several: those "
        "that agree in all",
    )
    pattern: str | None = Field(
        None,
        description="regular expression; of a value, its first group, or else its match, counts",
    )
    tolerance: PositiveFloat = Field(
        0.5, description="of similar frames: root mean square displacement, Å"
    )
    max_strain: PositiveFloat = Field(0.05, description="of similar frames: strain of the cell")
    n_blocks: PositiveInt | None = Field(
        None,
        description="of blocks: how many of each trajectory; left out: each of ten autocorrelation "
        "times of the energy, and no fewer than splits and `rarest` need",
    )
    gap: int = Field(
        0, ge=0, description="frames left out between two blocks of a trajectory, as too alike"
    )

    @field_validator("by", mode="before")
    @classmethod
    def _several(cls, by: object) -> object:
        return (by,) if isinstance(by, str) else by

    @field_validator("by")
    @classmethod
    def _known(cls, by: tuple[str, ...]) -> tuple[str, ...]:
        for rule in by:
            if not (_is_info(rule) or rule in GROUP_RULES[1:]):
                raise ValueError(f"{rule!r} is no rule; allowed: {', '.join(GROUP_RULES)}")
        return by

    @model_validator(mode="after")
    def _has_blocks(self) -> "GroupRule":
        if self.n_blocks is not None and BLOCKS not in self.by:
            raise ValueError(f"n_blocks is given; only by {BLOCKS!r} there are any")
        if self.gap and not {BLOCKS, SIMILAR} & set(self.by):
            raise ValueError(f"gap is given; only by {BLOCKS!r} or {SIMILAR!r} there are any")
        return self

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, pattern: str | None) -> str | None:
        return None if pattern is None else _check_pattern(pattern)


class PhaseRule(Strict):
    """How structures get their phase."""

    by: str = Field(description="info:KEY (a value the file has), source (the file) or constant")
    labels: dict[str, str] = Field(
        {}, description="regular expression: phase; the first that is found in the value counts"
    )
    constant: str = Field("", description="the phase of all, by constant")

    @field_validator("by")
    @classmethod
    def _known(cls, by: str) -> str:
        if not (_is_info(by) or by in PHASE_RULES[1:]):
            raise ValueError(f"{by!r} is no rule; allowed: {', '.join(PHASE_RULES)}")
        return by

    @field_validator("labels")
    @classmethod
    def _patterns(cls, labels: dict[str, str]) -> dict[str, str]:
        for pattern in labels:
            _check_pattern(pattern)
        return labels


def groups(frames: Sequence[Atoms], rule: GroupRule) -> list[str]:
    """Return the group of each frame; by ``blocks`` its trajectory (`pesloss.data.blocks`).

    Parameters
    ----------
    frames
        In the order of their files, with source and file in ``info``.
    rule
        The rule.

    Raises
    ------
    PeslossError
        One line: a frame lacks the key, with the keys it has.
    """
    columns = [_groups_by(frames, by, rule) for by in rule.by]
    return ["|".join(names) for names in zip(*columns, strict=True)]


def _groups_by(frames: Sequence[Atoms], by: str, rule: GroupRule) -> list[str]:
    sources = [source_of(atoms, index) for index, atoms in enumerate(frames)]
    if by == "none":
        return sources
    if by == "formula":
        return [atoms.get_chemical_formula() for atoms in frames]
    if by == SIMILAR:
        return [sources[first] for first in _similar(frames, rule)]
    if by == BLOCKS:
        return [sources[first] for first in _same_atoms(frames)]
    key = "file" if by == "source" else by.removeprefix(INFO)
    values = _values(frames, key)
    return values if rule.pattern is None else [_matched(rule.pattern, v) for v in values]


def _values(frames: Sequence[Atoms], key: str) -> list[str]:
    for index, atoms in enumerate(frames):
        if key not in atoms.info:
            there = ", ".join(sorted(atoms.info)) or "none"
            raise PeslossError(
                f"{source_of(atoms, index)}: info {key!r} is missing; there are: {there}"
            )
    return [str(atoms.info[key]) for atoms in frames]


def _matched(pattern: str, value: str) -> str:
    match = re.search(pattern, value)
    if match is None:
        return value
    return str(match.group(1 if match.re.groups else 0))


def _same_atoms(frames: Sequence[Atoms]) -> list[int]:
    """Return for each frame the first of its file with the same atoms."""
    first: dict[tuple[object, bytes, bytes], int] = {}
    keys = [(a.info.get("file"), a.numbers.tobytes(), a.pbc.tobytes()) for a in frames]
    return [first.setdefault(key, index) for index, key in enumerate(keys)]


def _similar(frames: Sequence[Atoms], rule: GroupRule) -> list[int]:
    """Return for each frame the first of those it is connected with."""
    links = [
        (index, earlier)
        for index in range(len(frames))
        for earlier in range(max(0, index - LOOK_BACK), index)
        if _alike(frames[earlier], frames[index], rule)
    ]
    rows, columns = np.array(links, dtype=int).reshape(-1, 2).T
    shape = (len(frames), len(frames))
    graph = coo_array((np.ones(len(links), dtype=bool), (rows, columns)), shape=shape)
    component = connected_components(graph, directed=False)[1]
    first: dict[int, int] = {}
    return [first.setdefault(int(c), index) for index, c in enumerate(component)]


def _alike(first: Atoms, second: Atoms, rule: GroupRule) -> bool:
    if first.info.get("file") != second.info.get("file"):
        return False
    if not np.array_equal(first.numbers, second.numbers) or (first.pbc != second.pbc).any():
        return False
    move = second.positions - first.positions
    if first.pbc.any():
        if first.cell.rank < 3 or second.cell.rank < 3:
            return False
        old, new = first.cell.array, second.cell.array
        if np.linalg.norm(np.linalg.solve(old, new) - np.eye(3), ord=2) > rule.max_strain:
            return False
        turns = second.get_scaled_positions(wrap=False) - first.get_scaled_positions(wrap=False)
        move = (turns - np.round(turns) * first.pbc) @ (0.5 * (old + new))
    move = move - move.mean(axis=0)
    return float(np.sqrt((move**2).sum(axis=1).mean())) <= rule.tolerance


def phases(frames: Sequence[Atoms], rule: PhaseRule) -> list[str]:
    """Return the phase of each frame.

    Parameters
    ----------
    frames
        With source and file in ``info``.
    rule
        The rule.

    Raises
    ------
    PeslossError
        One line: a frame lacks the key, or none of the patterns is found in its value.
    """
    if rule.by == "constant":
        return [rule.constant] * len(frames)
    values = _values(frames, "file" if rule.by == "source" else rule.by.removeprefix(INFO))
    if not rule.labels:
        return values
    return [
        _phase(source_of(atoms, index), value, rule)
        for index, (atoms, value) in enumerate(zip(frames, values, strict=True))
    ]


def _phase(source: str, value: str, rule: PhaseRule) -> str:
    for pattern, phase in rule.labels.items():
        if re.search(pattern, value):
            return phase
    raise wrong_value(source, rule.by, value, f"what matches {' or '.join(rule.labels)}")
