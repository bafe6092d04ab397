"""The files of config/ beside those of datasets, models and ablations: settings, presets, seeds."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.spec.config import Ablation, MoreSeeds, RunGrid, SuiteConfig
from pesloss.spec.names import CLAIM, ClaimText, Names, Titled, claim_number, titles
from pesloss.spec.yaml_files import named_files, names_in, parse_yaml, read_yaml
from pesloss.spec.yaml_models import check_names, load, load_all, parse

DEFAULT = "default"
MORE_SEEDS = "more_seeds.yaml"
FOLDERS = ("ablations", "claims", "datasets", "models", "presets")
FILES = ("config.yaml", MORE_SEEDS)


def check_folder(folder: Path) -> None:
    """Refuse what looks like configuration beside the files and folders that are read."""
    for name in names_in(folder):
        known = FOLDERS if (folder / name).is_dir() else FILES
        stem, _, suffix = name.partition(".")
        alike = (folder / name).is_dir() or stem.lower() in ("config", "more_seeds", *FOLDERS)
        if name not in known and (alike or suffix == "yml"):
            raise wrong_value(str(folder), "file", name, [*FILES, *FOLDERS])


def check_files(
    files: Sequence[Path | str], folder: Path, config: Mapping[str, Any]
) -> tuple[str, dict[str, str]]:
    """Check each file of settings on its own.

    Returns
    -------
    What to call the settings of all, and the file of each key whose value is that of a file.
    """
    contents = {str(path): read_yaml(path) for path in files}
    for path, content in contents.items():
        parse(SuiteConfig, content, path)
    origins = {
        key: path
        for path, content in contents.items()
        for key, value in content.items()
        if key in config and value == config[key]
    }
    return f"{', '.join(contents)} with --config" if files else f"{folder / 'config.yaml'}", origins


def as_typed(config: object) -> Any:
    """Return what Snakemake made of ``--config`` with numbers for texts, as YAML reads them.

    Snakemake takes ``training={n_steps: 5}`` for a text ``5``. Texts of files were checked as they
    are in the files before.
    """
    if isinstance(config, Mapping):
        return {key: as_typed(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [as_typed(value) for value in config]
    if isinstance(config, str) and re.fullmatch(r"[-+.\w]+", config):
        return parse_yaml(config, "--config")
    return config


def read_claims(folder: Path) -> dict[str, str]:
    """Return what each claim and question says, by its number: the files of config/claims."""
    found = {name: spec.title for name, spec in load_all(ClaimText, folder / "claims").items()}
    for name in found:
        if not CLAIM.fullmatch(name):
            allowed = "C or Q and a number: C1 for a claim, Q1 for a question beyond the claims"
            raise wrong_value(str(folder / "claims"), "file", f"{name}.yaml", allowed)
    return {name: found[name] for name in sorted(found, key=claim_number)}


def read_names(folder: Path) -> Names:
    """Return what all in the folder config/ is called, for what is written without a plan.

    Of datasets and models no more than title and place is read; a plan checks the rest.
    """
    return Names(_titles(folder / "datasets"), _titles(folder / "models"), read_claims(folder))


def _titles(folder: Path) -> dict[str, str]:
    return titles({name: _titled(path) for name, path in named_files(folder).items()})


def _titled(path: Path) -> Titled:
    content = read_yaml(path)
    return parse(Titled, {key: content.get(key) for key in Titled.model_fields}, str(path))


def known_presets(folder: Path) -> list[str]:
    """Return the names of the presets: ``default`` and the files of config/presets, all checked."""
    presets = folder / "presets"
    return sorted({DEFAULT, *(load_all(SuiteConfig, presets) if presets.exists() else ())})


def read_more_seeds(folder: Path) -> MoreSeeds:
    """Read config/more_seeds.yaml; without one there are no further seeds."""
    path = folder / MORE_SEEDS
    return load(MoreSeeds, path) if os.path.lexists(path) else MoreSeeds()


def with_more_seeds(
    ablations: Mapping[str, Ablation], config: SuiteConfig, more: MoreSeeds, folder: Path
) -> dict[str, Ablation]:
    """Give the ablations named in config/more_seeds.yaml their seeds.

    Parameters
    ----------
    ablations, config
        As read from ``folder``.
    more
        The content of config/more_seeds.yaml.
    folder
        The folder config/.

    Raises
    ------
    PeslossError
        In one line, for a preset or an ablation that is unknown, one that has no runs, or has more
        seeds already.
    """
    where, found = str(folder / MORE_SEEDS), dict(ablations)
    check_names(where, "seeds", more.seeds, known_presets(folder))
    for preset, numbers in more.seeds.items():
        check_names(where, f"seeds.{preset}", numbers, ablations)
        for name, number in numbers.items():
            key = f"seeds.{preset}.{name}"
            grid = grid_of(ablations[name], where, key)
            present = grid.seeds or config.seeds
            if preset != config.preset:
                continue
            if number < len(present):
                raise wrong_value(where, key, number, f"at least {len(present)}")
            grid = grid.model_copy(update={"seeds": longer(present, number)})
            found[name] = ablations[name].model_copy(update={"runs": grid})
    return found


def longer(seeds: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Return ``number`` seeds: those given, then the integers after the largest."""
    first = max(seeds) + 1
    return seeds + tuple(range(first, first + number - len(seeds)))


def grid_of(ablation: Ablation, where: str, key: str) -> RunGrid:
    """Return the runs of an ablation, or say in one line that it has none."""
    if ablation.runs is None:
        raise PeslossError(f"{where}: {key}: the ablation has no runs, only labels")
    return ablation.runs
