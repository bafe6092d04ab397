"""Further seeds for one ablation, kept in config/more_seeds.yaml for all later runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from pydantic import Field

from pesloss.config import Ablation, RunGrid, SuiteConfig
from pesloss.errors import PeslossError, wrong_value
from pesloss.files import read_table, write_text
from pesloss.specification import PositiveInt, Strict, load, load_all, parse, read_yaml

FILE = "more_seeds.yaml"


class MoreSeeds(Strict):
    """config/more_seeds.yaml: how many seeds an ablation has, where it has more than the others."""

    seeds: dict[str, dict[str, PositiveInt]] = Field(
        {}, description="by preset and ablation; the first seeds stay those of the preset"
    )

    @classmethod
    def read(cls, folder: Path) -> "MoreSeeds":
        """Read the file in the folder config/; without one there are no further seeds."""
        path = folder / FILE
        return load(cls, path) if path.is_file() else cls()


def with_more_seeds(
    ablations: Mapping[str, Ablation], config: SuiteConfig, folder: Path
) -> dict[str, Ablation]:
    """Give the ablations named in config/more_seeds.yaml their seeds.

    Parameters
    ----------
    ablations, config
        As read from ``folder``.
    folder
        The folder config/.

    Raises
    ------
    PeslossError
        In one line, for an ablation that is unknown, has no runs, or has more seeds already.
    """
    where, key = str(folder / FILE), f"seeds.{config.preset}"
    found = dict(ablations)
    for name, number in MoreSeeds.read(folder).seeds.get(config.preset, {}).items():
        if name not in ablations:
            raise wrong_value(where, key, name, sorted(ablations))
        grid = _grid(ablations[name], where, f"{key}.{name}")
        present = grid.seeds or config.seeds
        if number < len(present):
            raise wrong_value(where, f"{key}.{name}", number, f"at least {len(present)}")
        found[name] = ablations[name].model_copy(
            update={"runs": grid.model_copy(update={"seeds": longer(present, number)})}
        )
    return found


def longer(seeds: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Return ``number`` seeds: those given, then the integers after the largest."""
    first = max(seeds) + 1
    return seeds + tuple(range(first, first + number - len(seeds)))


def _grid(ablation: Ablation, where: str, key: str) -> RunGrid:
    if ablation.runs is None:
        raise PeslossError(f"{where}: {key}: the ablation has no runs, only labels")
    return ablation.runs


@dataclass(frozen=True)
class Addition:
    """Seeds that an ablation has and gets."""

    ablation: str
    preset: str
    before: int
    after: int
    outlook: tuple[str, ...]
    """A line for each undecided measurement: how many seeds would decide it."""


def add_seeds(
    ablation: str, to: int | None = None, preset: str | None = None, folder: Path = Path("config")
) -> Addition:
    """Write into config/more_seeds.yaml that an ablation has more seeds.

    Parameters
    ----------
    ablation
        Its name.
    to
        Number of seeds; left out: one more than now, or as many as now when no claim of the
        ablation is left undecided.
    preset
        Name of the preset; left out: that of config.yaml.
    folder
        The folder config/; results lie beside it.

    Raises
    ------
    PeslossError
        For an unknown ablation or preset, one without runs, and a number below that of now.
    """
    config = _preset(folder, preset)
    ablations = with_more_seeds(load_all(Ablation, folder / "ablations"), config, folder)
    if ablation not in ablations:
        raise wrong_value("more-seeds", "ablation", ablation, sorted(ablations))
    grid = _grid(ablations[ablation], "more-seeds", ablation)
    before = len(grid.seeds or config.seeds)
    table = folder.parent / config.pathvars.get("results", "results") / "tables" / "claims.csv"
    outlook = undecided(read_table(table), ablation) if table.is_file() else None
    after = (before if outlook == () else before + 1) if to is None else to
    if after < before:
        raise wrong_value("more-seeds", "--to", after, f"at least {before}, the seeds of now")
    if after > before:
        kept = MoreSeeds.read(folder).model_dump()["seeds"]
        kept.setdefault(config.preset, {})[ablation] = after
        write_text(folder / FILE, yaml.safe_dump({"seeds": kept}))
    return Addition(ablation, config.preset, before, after, outlook or ())


def _preset(folder: Path, preset: str | None) -> SuiteConfig:
    path = folder / "config.yaml"
    content = read_yaml(path)
    if preset not in (None, content.get("preset", "default")):
        known = sorted(p.stem for p in (folder / "presets").glob("*.yaml"))
        if preset not in known:
            raise wrong_value("more-seeds", "--preset", preset, known)
        path = folder / "presets" / f"{preset}.yaml"
        content = {**content, **read_yaml(path)}
    return parse(SuiteConfig, content, str(path))


def undecided(claims: pd.DataFrame, ablation: str) -> tuple[str, ...]:
    """Return a line for each undecided measurement of an ablation's trained models.

    Parameters
    ----------
    claims
        ``results/tables/claims.csv``.
    ablation
        Its name.

    Returns
    -------
    tuple of str
        ``C7 error_exponent of si_sw, raw: 8 seeds``; ``no number of seeds`` where the estimate sits
        at the margin.
    """
    rows = claims[(claims.ablation == ablation) & (claims.subject == "errors")]
    rows = rows[rows.verdict == "undecided"]
    rows = rows.assign(**{name: rows[name].fillna("") for name in ("loss", "group", "options")})
    return tuple(_outlook(row) for _, row in rows.iterrows())


def _outlook(row: pd.Series) -> str:
    about = ", ".join(str(part) for part in (row.dataset, row.loss, row.group) if part)
    what = " ".join(str(part) for part in (row.claim, row.statistic, row.options) if part)
    number = row.seeds_to_decide
    seeds = "no number of seeds" if pd.isna(number) else f"{int(number)} seeds"
    return f"{what} of {about}: {seeds}"
