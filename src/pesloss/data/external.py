"""From foreign files to a dataset of the suite: fetch, read, check, group, choose."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pesloss.data import left_out
from pesloss.data.blocks import N_SPLITS, cut
from pesloss.data.checks import check_units, checked
from pesloss.data.families import rounded
from pesloss.data.fetch import Sources, fetch
from pesloss.data.fetch import unavailable as fetch_unavailable
from pesloss.data.generate import generator
from pesloss.data.grouping import GroupRule, groups, phases
from pesloss.data.isolated import reference_energies
from pesloss.data.kinds.files import Recipe, Source
from pesloss.data.left_out import Row
from pesloss.data.own_files import SameFileError, all_matched
from pesloss.data.readers import read
from pesloss.data.spec import DatasetSpec
from pesloss.data.splits import ADVICE
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.progress import Report
from pesloss.job.surroundings import expanded, pass_on
from pesloss.spec.config import SuiteConfig

REFERENCE_ENERGIES = "reference_energies"
Log = Callable[[str], None]


@dataclass(frozen=True)
class External:
    """What has become of the files.

    Attributes
    ----------
    structures
        With energy (eV), forces (eV/Å) where there are any, and the keys structure, group, phase.
    left_out
        Columns structure and reason: everything that was in the files and is not used.
    notes
        What a reader of results should know, in sentences.
    reference_energies
        Energy of an isolated atom by symbol, eV, of those that were among the structures.
    """

    structures: list[Atoms]
    left_out: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    reference_energies: dict[str, float] = field(default_factory=dict)

    def described(self, spec: DatasetSpec) -> dict[str, Any]:
        """Return what the spec says of the structures, and the reference energies if any."""
        found = self.reference_energies
        return spec.described() | ({REFERENCE_ENERGIES: found} if found else {})


def sources_of(settings: Mapping[str, Any]) -> Sources:
    """Return cache and mirror: those of the settings, else those of the environment."""
    given = {key: settings[key] for key in ("mirror", "cache") if settings.get(key)}
    if "cache" in given:
        given["cache"] = Path(given["cache"])
    return Sources(**given)


def unavailable_here(specs: Mapping[str, DatasetSpec], config: SuiteConfig) -> dict[str, str]:
    """Return which datasets cannot be had on this machine, and why."""
    recipes = {name: spec.parsed_recipe() for name, spec in specs.items()}
    foreign = {name: r for name, r in recipes.items() if isinstance(r, Recipe)}
    return unavailable(foreign, sources_of(config.model_dump()))


def unavailable(recipes: Mapping[str, Recipe], sources: Sources) -> dict[str, str]:
    """Return by name which datasets' files cannot be had, each with a sentence that says why.

    Raises
    ------
    PeslossError
        When a card names a file twice.
    """
    sets = {name: [file for s in r.sources for file in s.files] for name, r in recipes.items()}
    own = {name: _why_not_own(name, recipe) for name, recipe in recipes.items()}
    return fetch_unavailable(sets, sources) | {name: why for name, why in own.items() if why}


def _why_not_own(name: str, recipe: Recipe) -> str | None:
    try:
        recipe.own_files()
    except SameFileError as error:
        raise PeslossError(f"dataset {name}: paths: {error}") from None
    except PeslossError as error:
        return str(error)
    return None


def read_dataset(
    spec: DatasetSpec,
    preset: str,
    sources: Sources,
    log: Log = lambda line: None,
    report: Report | None = None,
) -> External:
    """Make a dataset of foreign files.

    Parameters
    ----------
    spec, preset
        A dataset of kind ``files``, and which of its sizes.
    sources
        Cache and mirror.
    log
        Told in sentences what was found and left out.
    report
        Told the progress of downloads.

    Raises
    ------
    PeslossError
        When a file cannot be had or read, units look wrong, or nothing is left: with the reasons,
        counted, and the keys to change.
    """
    recipe = spec.parsed_recipe()
    assert isinstance(recipe, Recipe)
    rng = generator(spec.seed, "choose")
    read_in = [_read(source, sources, report) for source in recipe.sources]
    good, rows, isolated, notes = _checked(read_in, recipe, log)
    named = [_named(frames, source) for source, frames in zip(recipe.sources, good, strict=True)]
    kept, others = _in_phases([atoms for part in named for atoms in part], recipe)
    chosen, not_drawn = choose(kept, spec.size(preset), rng)
    rows += others + [Row(_name(a), left_out.NOT_DRAWN, "not drawn") for a in not_drawn]
    blocks = cut(chosen, kept, _rules(named, recipe), recipe.rarest)
    rows += [Row(name, left_out.GAP, reason) for name, reason in blocks.in_gaps]
    chosen, rare = _without_rare_species(blocks.structures, recipe)
    rows += rare
    if not chosen:
        total, why = len(rows), left_out.in_words(rows)
        raise PeslossError(f"files: no structure is left of {total}: {why}")
    few = left_out.mostly(rows, len(chosen))
    structures = [copy for atoms in chosen for copy in supercells(atoms, recipe.copies)]
    structures.sort(key=_name)
    for count, row in left_out.counted(rows):
        log(f"left out, {row.reason}: {count}")
    return External(
        structures,
        left_out.table(rows),
        [*notes, *blocks.notes, *few, *_about_groups(chosen, recipe)],
        reference_energies(isolated),
    )


@dataclass(frozen=True)
class _Read:
    """What a source has given."""

    frames: list[Atoms]
    unread: list[Row]
    notes: list[str]


def _read(source: Source, sources: Sources, report: Report | None) -> _Read:
    found = _Read([], [], [])
    for name, path in _paths(source, sources, report):
        frames, bad = read(path, source.format, source.labels, name, found.notes.append)
        found.frames.extend(frames)
        found.unread.extend(Row(item.source, left_out.UNREADABLE, item.reason) for item in bad)
    return found


def _checked(
    read_in: Sequence[_Read], recipe: Recipe, log: Log
) -> tuple[list[list[Atoms]], list[Row], list[Atoms], list[str]]:
    """Return the good frames of each source, what else was read, isolated atoms, and notes."""
    frames = [atoms for part in read_in for atoms in part.frames]
    forces = True if recipe.has_forces else None
    found = checked(frames, recipe.limits, forces, "files", may_be_empty=True)
    rows = [row for part in read_in for row in part.unread]
    notes = [line for part in read_in for line in part.notes] + found.notes
    good, start = [], 0
    for part in read_in:
        stop = start + len(part.frames)
        own = [a for a, p in zip(found.kept, found.places, strict=True) if start <= p < stop]
        log(f"{len(part.frames)} structures read, {len(part.unread)} unreadable, "
            f"{len(part.frames) - len(own)} left out")  # fmt: skip
        notes += _check_units(own, recipe, log)
        good.append(own)
        start = stop
    rows += [Row(*row) for row in found.left_out.itertuples(index=False)]
    rows += [_reference(atoms) for atoms in found.isolated]
    return good, rows, found.isolated, notes


def _reference(atoms: Atoms) -> Row:
    energy = float(atoms.calc.results["energy"])
    reason = f"isolated atom of {atoms.symbols[0]}, kept as reference energy {energy:.6f} eV"
    return Row(str(atoms.info["source"]), "reference energy", reason)


def _about_groups(chosen: Sequence[Atoms], recipe: Recipe) -> list[str]:
    """Say so where there are fewer groups than splits; splitting will refuse them."""
    n_groups = len({atoms.info["group"] for atoms in chosen})
    if n_groups >= N_SPLITS:
        return []
    rules = ", ".join(dict.fromkeys("+".join(source.groups.by) for source in recipe.sources))
    return [
        f"{len(chosen)} structures are in {n_groups} groups by `groups: {rules}`; splits need "
        f"{N_SPLITS} or more: {ADVICE}"
    ]


def _rules(named: Sequence[Sequence[Atoms]], recipe: Recipe) -> dict[str, GroupRule]:
    """Return the rule that made each group."""
    pairs = zip(recipe.sources, named, strict=True)
    return {str(a.info["group"]): source.groups for source, part in pairs for a in part}


def _name(atoms: Atoms) -> str:
    return str(atoms.info["structure"])


def _paths(source: Source, sources: Sources, report: Report | None) -> Iterator[tuple[str, Path]]:
    for file in source.files:
        yield file.path, fetch(file, sources, report)
    for path in all_matched(source.paths):
        yield path, Path(path)
    if source.load_atoms:
        yield source.load_atoms, loaded_atoms(source.load_atoms, sources.cache)


def loaded_atoms(name: str, cache: Path) -> Path:
    """Return an extended XYZ file of a dataset of load-atoms, made once in the cache.

    Raises
    ------
    PeslossError
        When load-atoms is not installed or cannot give the dataset.
    """
    path = expanded(cache) / "load-atoms" / f"{name}.extxyz"
    if path.is_file():
        return path
    try:
        import load_atoms
    except ImportError:
        message = "is not installed; `make codes` or `pip install load-atoms` brings it"
        raise PeslossError(f"load_atoms {name!r}: load-atoms {message}") from None
    from ase.io import write

    from pesloss.job.files import written_whole

    try:
        structures = list(load_atoms.load_dataset(name, root=path.parent / "downloads"))
    except Exception as error:  # it has exceptions of its own for names, networks and hashes
        pass_on(error, path, "written")
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PeslossError(f"load_atoms {name!r}: {reason}") from None
    with written_whole(path) as scratch:
        write(scratch, structures, format="extxyz")
    return path


def _check_units(frames: Sequence[Atoms], recipe: Recipe, log: Log) -> list[str]:
    try:
        for finding in check_units(frames):
            log(str(finding))
    except PeslossError as error:
        if recipe.check_units == "strict":
            raise PeslossError(f"{error}; `check_units: report` in the card goes on") from None
        return [f"units: {error}"]
    return []


def _named(frames: Sequence[Atoms], source: Source) -> list[Atoms]:
    named = []
    together = groups(frames, source.groups)
    for atoms, group, phase in zip(frames, together, phases(frames, source.phase), strict=True):
        result = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        result.info = {"structure": atoms.info["source"], "group": group, "phase": phase}
        result.calc = SinglePointCalculator(result, **atoms.calc.results)
        named.append(result)
    return named


def _in_phases(structures: list[Atoms], recipe: Recipe) -> tuple[list[Atoms], list[Row]]:
    if recipe.phases is None:
        return structures, []
    found = sorted({str(atoms.info["phase"]) for atoms in structures})
    unknown = [phase for phase in recipe.phases if phase not in found]
    if unknown:
        raise wrong_value("files", "phases", unknown[0], found)
    kept = [atoms for atoms in structures if atoms.info["phase"] in recipe.phases]
    others = [a for a in structures if a.info["phase"] not in recipe.phases]
    return kept, [Row(_name(a), left_out.PHASE, f"phase {a.info['phase']}") for a in others]


def _without_rare_species(structures: list[Atoms], recipe: Recipe) -> tuple[list[Atoms], list[Row]]:
    """Leave out species that a split might not see; what remains may make others rare."""
    rows: list[Row] = []
    while True:
        groups_of: dict[str, set[str]] = {}
        for atoms in structures:
            for symbol in set(atoms.symbols):
                groups_of.setdefault(symbol, set()).add(str(atoms.info["group"]))
        rare = {symbol for symbol, found in groups_of.items() if len(found) < recipe.rarest}
        dropped = [atoms for atoms in structures if rare & set(atoms.symbols)]
        if not dropped:
            return structures, rows
        for atoms in dropped:
            symbol = min(rare & set(atoms.symbols))
            count = len(groups_of[symbol])
            reason = f"species {symbol} in {count} groups, fewer than {recipe.rarest}"
            rows.append(Row(_name(atoms), left_out.RARE, reason))
        structures = [atoms for atoms in structures if not rare & set(atoms.symbols)]


def choose(
    structures: Sequence[Atoms], n: int | None, rng: np.random.Generator
) -> tuple[list[Atoms], list[Atoms]]:
    """Choose at most ``n`` structures, as evenly as possible over the doublings of the size.

    Small bins are taken whole and the others give equal numbers, at random.

    Returns
    -------
    The chosen and the others, each in the order given.
    """
    if n is None or n >= len(structures):
        return list(structures), []
    size_bin = np.floor(np.log2([len(atoms) for atoms in structures])).astype(int)
    order = rng.permutation(len(structures))
    quota = _even(np.bincount(size_bin), n)
    taken = np.zeros(len(structures), dtype=bool)
    for b, count in enumerate(quota):
        taken[order[size_bin[order] == b][:count]] = True
    pairs = list(zip(structures, taken, strict=True))
    return [a for a, yes in pairs if yes], [a for a, yes in pairs if not yes]


def _even(available: "np.typing.NDArray[np.int_]", n: int) -> list[int]:
    """Share ``n`` over bins as evenly as what is available allows, larger bins last."""
    quota = np.zeros(len(available), dtype=int)
    waiting = [int(b) for b in np.argsort(available, kind="stable") if available[b]]
    left = n
    while waiting:
        b = waiting.pop(0)
        quota[b] = min(int(available[b]), left // (len(waiting) + 1))
        left -= quota[b]
    return [int(q) for q in quota]


def supercells(atoms: Atoms, copies: Sequence[int]) -> Iterator[Atoms]:
    """Yield a structure and its supercells along the first axis, with their labels.

    The copies see the same surroundings: energies add up, forces repeat (science.md §2). A
    structure that is not periodic there has none and is yielded once.
    """
    periodic = bool(atoms.pbc[0]) and atoms.cell.rank == 3
    for m in copies if periodic else (1,):
        repeated = atoms.repeat((m, 1, 1))
        results = {"energy": m * atoms.calc.results["energy"]}
        if "forces" in atoms.calc.results:
            results["forces"] = np.tile(atoms.calc.results["forces"], (m, 1))
        if "stress" in atoms.calc.results:
            results["stress"] = atoms.calc.results["stress"]
        repeated.info = dict(atoms.info)
        if len(copies) > 1:
            repeated.info["structure"] = f"{atoms.info['structure']}x{m}"
            repeated.info["group"] = atoms.info["group"]
        repeated = rounded(repeated)
        repeated.calc = SinglePointCalculator(repeated, **results)
        yield repeated
