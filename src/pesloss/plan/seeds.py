"""Further seeds for one ablation, kept in config/more_seeds.yaml for all later runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import read_table, write_text
from pesloss.plan.suite import Suite
from pesloss.spec.config import Ablation, MoreSeeds, SuiteConfig
from pesloss.spec.config_files import (
    DEFAULT,
    MORE_SEEDS,
    grid_of,
    known_presets,
    read_more_seeds,
    with_more_seeds,
)
from pesloss.spec.yaml_files import parse_yaml, read_yaml, text_of
from pesloss.spec.yaml_models import check_names, load_all, parse


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
        For an unknown ablation or preset, one without runs, a number below that of now, and one
        that the plan refuses; the file is then left as it is.
    """
    config = _preset(folder, preset)
    more = read_more_seeds(folder)
    ablations = load_all(Ablation, folder / "ablations")
    check_names("more-seeds", "ablation", [ablation], ablations)
    present = with_more_seeds(ablations, config, more, folder)[ablation]
    before = len(grid_of(present, "more-seeds", ablation).seeds or config.seeds)
    table = folder.parent / config.results / "tables" / "claims.csv"
    outlook = undecided(read_table(table), ablation) if table.is_file() else None
    after = (before if outlook == () else before + 1) if to is None else to
    if after < before:
        raise wrong_value("more-seeds", "--to", after, f"at least {before}, the seeds of now")
    if after > before:
        _write(folder, config, ablation, after)
    return Addition(ablation, config.preset, before, after, outlook or ())


def _write(folder: Path, config: SuiteConfig, ablation: str, number: int) -> None:
    """Write the file only if the whole suite can be planned with it."""
    path = folder / MORE_SEEDS
    old = text_of(path) if path.exists() else ""
    text = with_number(old, config.preset, ablation, number)
    more = parse(MoreSeeds, parse_yaml(text, str(path)), "more-seeds")
    Suite.read(config.model_dump(exclude_unset=True), folder, more=more)
    try:
        write_text(path, text)
    except OSError as error:
        raise PeslossError(f"{path}: cannot be written ({error.strerror})") from None


def with_number(text: str, preset: str, ablation: str, number: int) -> str:
    """Return the text of config/more_seeds.yaml with another number, comments and order kept."""
    present = (parse_yaml(text, MORE_SEEDS) or {}).get("seeds", {})
    wanted = {key: dict(numbers) for key, numbers in present.items()}
    wanted.setdefault(preset, {})[ablation] = number
    plain = yaml.safe_dump({"seeds": wanted})
    if not present:
        comments = [line for line in text.splitlines() if line.startswith("#")]
        return "\n".join([*comments, plain])
    edited = _edited(text, ("seeds", preset, ablation), number)
    return edited if parse_yaml(edited, MORE_SEEDS) == {"seeds": wanted} else plain


def _edited(text: str, keys: Sequence[str], number: int) -> str:
    """Put a number into a text at the place of ``keys``, or first among those of their mapping."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for place, key in enumerate(keys):
        found = next((value for name, value in node.value if name.value == key), None)
        if found is None:
            start, missing = node.value[0][0].start_mark, keys[place:]
            gap = ", " if node.flow_style else "\n" + " " * start.column
            new = f"{missing[0]}: " + "".join(f"{{{name}: " for name in missing[1:])
            new += f"{number}{'}' * len(missing[1:])}{gap}"
            return text[: start.index] + new + text[start.index :]
        node = found
    return text[: node.start_mark.index] + str(number) + text[node.end_mark.index :]


def _preset(folder: Path, preset: str | None) -> SuiteConfig:
    path = folder / "config.yaml"
    content = read_yaml(path)
    parse(SuiteConfig, content, str(path))
    if preset not in (None, content.get("preset", DEFAULT)):
        known = [name for name in known_presets(folder) if name != DEFAULT]
        check_names("more-seeds", "--preset", [str(preset)], known)
        path = folder / "presets" / f"{preset}.yaml"
        content = merged(content, read_yaml(path))
    return parse(SuiteConfig, content, str(path))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``over``, mappings within them likewise, as Snakemake."""
    both = {
        key: merged(base[key], value)
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        else value
        for key, value in over.items()
    }
    return {**base, **both}


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
