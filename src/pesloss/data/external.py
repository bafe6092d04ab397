"""From foreign files to a dataset of the suite: fetch, read, check, group, choose."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pesloss.config import SuiteConfig
from pesloss.data.checks import check_structures, check_units
from pesloss.data.families import rounded
from pesloss.data.fetch import Report, Sources, fetch
from pesloss.data.fetch import unavailable as fetch_unavailable
from pesloss.data.generate import generator
from pesloss.data.grouping import groups, phases
from pesloss.data.kinds.files import Recipe, Source
from pesloss.data.readers import read
from pesloss.data.spec import DatasetSpec
from pesloss.errors import PeslossError, wrong_value
from pesloss.surroundings import expanded, pass_on

Log = Callable[[str], None]
LEFT_OUT = ["structure", "reason"]


@dataclass(frozen=True)
class External:
    """What has become of the files.

    Attributes
    ----------
    structures
        With energy (eV), forces (eV/Å) where there are any, and the keys structure, group, phase.
    left_out
        Columns structure and reason: everything that was in the files and is not used.
    """

    structures: list[Atoms]
    left_out: pd.DataFrame


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
    """Return by name which datasets' files cannot be had, each with a sentence that says why."""
    paths = {name: [p for s in r.sources for p in s.paths] for name, r in recipes.items()}
    missing = {name: [p for p in own if not Path(p).is_file()] for name, own in paths.items()}
    sets = {name: [file for s in r.sources for file in s.files] for name, r in recipes.items()}
    own = {name: f"{absent[0]}: no such file" for name, absent in missing.items() if absent}
    return fetch_unavailable(sets, sources) | own


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
        When a file cannot be had or read, units look wrong, or nothing is left.
    """
    recipe = spec.parsed_recipe()
    assert isinstance(recipe, Recipe)
    rng = generator(spec.seed, "choose")
    kept: list[Atoms] = []
    rows: list[tuple[str, str]] = []
    for source in recipe.sources:
        frames, unread = _frames(source, sources, report)
        rows += unread
        good, bad = check_structures(frames, recipe.limits, source.labels.forces is not None)
        rows += list(zip(bad["source"], bad["reason"], strict=True))
        log(f"{len(frames)} structures read, {len(unread)} unreadable, {len(bad)} left out")
        _check_units(good, recipe, log)
        kept += _named(good, source)
    kept, others = _in_phases(kept, recipe)
    chosen, not_drawn = choose(kept, spec.size(preset), rng)
    rows += others + [(str(a.info["structure"]), "not drawn") for a in not_drawn]
    chosen, rare = _without_rare_species(chosen, recipe)
    rows += rare
    if not chosen:
        raise PeslossError("files: no structure is left; see the reasons in the log")
    structures = [copy for atoms in chosen for copy in supercells(atoms, recipe.copies)]
    structures.sort(key=lambda atoms: str(atoms.info["structure"]))
    table = pd.DataFrame(rows, columns=LEFT_OUT, dtype="str")
    for reason, count in _kinds_of_reasons(table):
        log(f"left out, {reason}: {count}")
    return External(structures, table)


def _frames(
    source: Source, sources: Sources, report: Report | None
) -> tuple[list[Atoms], list[tuple[str, str]]]:
    frames: list[Atoms] = []
    unread: list[tuple[str, str]] = []
    for name, path in _paths(source, sources, report):
        found, left_out = read(path, source.format, source.labels, name)
        frames += found
        unread += [(item.source, item.reason) for item in left_out]
    return frames, unread


def _paths(source: Source, sources: Sources, report: Report | None) -> Iterator[tuple[str, Path]]:
    for file in source.files:
        yield file.path, fetch(file, sources, report)
    for path in source.paths:
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

    from pesloss.files import written_whole

    try:
        structures = list(load_atoms.load_dataset(name, root=path.parent / "downloads"))
    except Exception as error:  # it has exceptions of its own for names, networks and hashes
        pass_on(error, path, "written")
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PeslossError(f"load_atoms {name!r}: {reason}") from None
    with written_whole(path) as scratch:
        write(scratch, structures, format="extxyz")
    return path


def _check_units(frames: Sequence[Atoms], recipe: Recipe, log: Log) -> None:
    try:
        for finding in check_units(frames):
            log(str(finding))
    except PeslossError as error:
        if recipe.check_units == "strict":
            raise PeslossError(f"{error}; `check_units: report` in the card goes on") from None
        log(f"units: {error}")


def _named(frames: Sequence[Atoms], source: Source) -> list[Atoms]:
    named = []
    together = groups(frames, source.groups)
    for atoms, group, phase in zip(frames, together, phases(frames, source.phase), strict=True):
        result = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        result.info = {"structure": atoms.info["source"], "group": group, "phase": phase}
        result.calc = SinglePointCalculator(result, **atoms.calc.results)
        named.append(result)
    return named


def _in_phases(
    structures: list[Atoms], recipe: Recipe
) -> tuple[list[Atoms], list[tuple[str, str]]]:
    if recipe.phases is None:
        return structures, []
    found = sorted({str(atoms.info["phase"]) for atoms in structures})
    unknown = [phase for phase in recipe.phases if phase not in found]
    if unknown:
        raise wrong_value("files", "phases", unknown[0], found)
    kept = [atoms for atoms in structures if atoms.info["phase"] in recipe.phases]
    others = [a for a in structures if a.info["phase"] not in recipe.phases]
    return kept, [(str(a.info["structure"]), f"phase {a.info['phase']}") for a in others]


def _without_rare_species(
    structures: list[Atoms], recipe: Recipe
) -> tuple[list[Atoms], list[tuple[str, str]]]:
    """Leave out species that a split might not see; what remains may make others rare."""
    rows: list[tuple[str, str]] = []
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
            rows.append((str(atoms.info["structure"]), reason))
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


def _kinds_of_reasons(table: pd.DataFrame) -> list[tuple[str, int]]:
    """Count reasons with their numbers taken out."""
    words = table["reason"].str.replace(r"@\d+|[-+]?\d[\d.]*(e[-+]?\d+)?", "…", regex=True)
    counts = words.value_counts()
    return [(str(reason), int(count)) for reason, count in counts.items()]
