"""What is not used of the structures that were read: counted by reason, with the key to change."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

COLUMNS = ["structure", "reason"]
UNREADABLE, PHASE, NOT_DRAWN, RARE, GAP = "labels", "phases", "n_structures", "rarest", "gap"
ASKED_FOR = (PHASE, NOT_DRAWN)
MOST_KINDS = 5
# what changes it, by check: a key of the card, where there is one
KEYS = {
    UNREADABLE: "`labels` or `format`",
    PHASE: "`phases`",
    NOT_DRAWN: "`n_structures`",
    RARE: "`rarest`, or `groups`: `blocks` cuts trajectories",
    GAP: "`gap` of `groups`",
    "number of atoms": "`min_atoms` and `max_atoms` of `limits`",
    "energy": "`labels` or `limits`",
    "forces": "`labels` or `limits`",
    "net force": "`max_net_force` of `limits`",
    "isolated atom": "`isolation` of `limits`",
}
NUMBER = re.compile(r"@\d+|[-+]?\d[\d.]*(e[-+]?\d+)?")


class Row(NamedTuple):
    """A structure that is not used: its name, the check that it failed, and why."""

    structure: str
    check: str
    reason: str


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the columns structure and reason."""
    return pd.DataFrame([(r.structure, r.reason) for r in rows], columns=COLUMNS, dtype="str")


def counted(rows: Iterable[Row]) -> list[tuple[int, Row]]:
    """Count rows whose reasons differ in numbers alone; with the first of each, most first.

    Where they do differ, the reason is marked as one of several.
    """
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(NUMBER.sub("…", row.reason), []).append(row)
    return sorted(((len(of), _one_of(of)) for of in kinds.values()), key=lambda pair: -pair[0])


def _one_of(rows: Sequence[Row]) -> Row:
    differ = len({row.reason for row in rows}) > 1
    return rows[0]._replace(reason=f"such as: {rows[0].reason}") if differ else rows[0]


def in_words(rows: Sequence[Row]) -> str:
    """Say how many rows there are of each reason, and which key changes that."""
    kinds = counted(rows)
    said = [f"{count}: {row.reason}" for count, row in kinds[:MOST_KINDS]]
    rest = sum(count for count, _ in kinds[MOST_KINDS:])
    said += [f"{rest}: other reasons"] if rest else []
    keys = dict.fromkeys(KEYS[row.check] for _, row in kinds if row.check in KEYS)
    advice = f" (to change: {'; '.join(keys)})" if keys else ""
    return "; ".join(said) + advice


def mostly(rows: Sequence[Row], n_left: int) -> list[str]:
    """Say so where more structures are left out than used, but for those left out on request."""
    unasked = [row for row in rows if row.check not in ASKED_FOR]
    if len(unasked) <= n_left:
        return []
    total = n_left + len(unasked)
    return [f"only {n_left} of {total} structures are left: {in_words(unasked)}"]
