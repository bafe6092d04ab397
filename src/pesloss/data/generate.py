"""Generate a dataset in parts that may run anywhere, and join them to the same bytes."""

import heapq
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms

from pesloss.data.families import Built, Failure, Family
from pesloss.data.spec import DatasetSpec, kind_module
from pesloss.job.errors import PeslossError, wrong_value

Progress = Callable[[Iterable[Family], int, str], Iterable[Family]]


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of a family or a step, whatever else has been drawn before."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]))


def plan(spec: DatasetSpec, preset: str) -> list[Family]:
    """List the families of a dataset with geometry."""
    module, recipe = kind_module(spec.kind), spec.parsed_recipe()
    families: list[Family] = module.plan(recipe, spec.size(preset), generator(spec.seed, "plan"))
    return families


def draw(spec: DatasetSpec, preset: str) -> pd.DataFrame:
    """Draw the structure table of a dataset without geometry."""
    module, recipe = kind_module(spec.kind), spec.parsed_recipe()
    table: pd.DataFrame = module.draw(recipe, spec.size(preset), generator(spec.seed, "draw"))
    return table


def families_of_part(families: Sequence[Family], part: int, n_parts: int) -> list[Family]:
    """Deal ``families`` to ``n_parts`` by expected cost and return those of ``part`` (from 0).

    Each family, the dearest first, goes to the part that has the least to do.
    """
    if not 0 <= part < n_parts:
        raise wrong_value("generate_part", "part", part, f"0 to {n_parts - 1}")
    loads = [(0.0, p) for p in range(n_parts)]
    mine = []
    for family in sorted(families, key=lambda f: (-f.cost, f.id)):
        load, p = heapq.heappop(loads)
        heapq.heappush(loads, (load + family.cost, p))
        if p == part:
            mine.append(family)
    return mine


def generate_part(
    spec: DatasetSpec,
    preset: str,
    part: int = 0,
    n_parts: int = 1,
    progress: Progress | None = None,
) -> tuple[list[Atoms], list[Failure]]:
    """Generate one part of a dataset with geometry.

    Parameters
    ----------
    spec, preset
        The dataset, and which of its sizes.
    part, n_parts
        Which part, from 0, of how many.
    progress
        ``pesloss.job.progress.progress`` or the like: called with families, their number and a
        label.

    Returns
    -------
    Structures with energy (eV) and forces (eV/Å), and the structures that failed.
    """
    mine = families_of_part(plan(spec, preset), part, n_parts)
    shown = mine if progress is None else progress(mine, len(mine), f"{spec.kind} part {part + 1}")
    built = [item for family in shown for item in _members(spec, family)]
    structures = [item for item in built if isinstance(item, Atoms)]
    return structures, [item for item in built if isinstance(item, Failure)]


def _members(spec: DatasetSpec, family: Family) -> Iterator[Built]:
    build: Any = kind_module(spec.kind).build
    yield from build(spec.parsed_recipe(), family, generator(spec.seed, family.id))


def collect(
    spec: DatasetSpec,
    preset: str,
    parts: Iterable[Sequence[Atoms]],
    failures: Iterable[pd.DataFrame] = (),
) -> tuple[list[Atoms], pd.DataFrame]:
    """Join the parts of a dataset, in an order that does not depend on their number.

    Parameters
    ----------
    spec, preset
        The dataset, and which of its sizes.
    parts
        Structures of each part.
    failures
        Failure table of each part, see ``failure_table``.

    Raises
    ------
    PeslossError
        When a structure is missing or comes twice.
    """
    structures = sorted((a for part in parts for a in part), key=lambda a: str(a.info["structure"]))
    tables = [table for table in failures if len(table)]
    failed = pd.concat(tables, ignore_index=True) if tables else failure_table([])
    names = [str(a.info["structure"]) for a in structures] + [str(n) for n in failed["structure"]]
    if len(set(names)) != len(names) or len(names) != spec.size(preset):
        message = f"{len(set(names))} distinct of {len(names)} structures"
        raise PeslossError(f"parts: {message}; needed: {spec.size(preset)}; generate them again")
    return structures, failed.sort_values("structure", ignore_index=True)


def failure_table(failures: Sequence[Failure]) -> pd.DataFrame:
    """Return the failures as a table with columns structure and reason."""
    rows = [(failure.structure, failure.reason) for failure in failures]
    return pd.DataFrame(rows, columns=["structure", "reason"], dtype="str")
