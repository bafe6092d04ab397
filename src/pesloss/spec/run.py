"""The identity of a training run, and the folder that is named by it."""

import re
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.spec.settings import (
    MODEL_SETTINGS,
    TRAINING_SETTINGS,
    ModelSpec,
    TrainingSpec,
    typed,
)
from pesloss.spec.yaml_models import parse

BASE = "base"
# Between changes in a path. No comma: Snakemake hands a job of a cluster its wildcards as
# key=value,key=value, and one with a comma arrives cut off.
AND = "~"
WILDCARDS = (
    "{dataset}/{model}/{variant}/{energy_loss}-{force_loss}-{metric}"
    "/weight-{force_weight}/seed-{seed}"
)

PATTERN = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+?)", WILDCARDS)


@dataclass(frozen=True, order=True)
class Run:
    """One training: what is trained on what, under which loss, from which seed.

    No ablation is named here, so ablations that need the same run share it.
    """

    dataset: str
    model: str
    energy_loss: str
    force_loss: str = "raw"
    metric: str = "mse"
    force_weight: float = 1.0
    seed: int = 0
    changes: tuple[tuple[str, float], ...] = field(default=())

    @property
    def variant(self) -> str:
        """The changed settings as ``key=value,…``, or ``base`` when there are none."""
        return ",".join(f"{key}={shortest(value)}" for key, value in self.changes) or BASE

    @cached_property
    def folder(self) -> PurePosixPath:
        """Path of the run below results/runs, unique to the run."""
        return PurePosixPath(
            WILDCARDS.format(
                **{**asdict(self), "force_weight": shortest(self.force_weight)},
                variant=self.variant.replace(",", AND),
            )
        )

    @classmethod
    def from_wildcards(cls, wildcards: dict[str, str]) -> "Run":
        """Rebuild the run from the parts of its path."""
        parts = {k: v for k, v in wildcards.items() if k in cls.__dataclass_fields__}
        return cls(
            **{
                **parts,
                "force_weight": float(wildcards["force_weight"]),
                "seed": int(wildcards["seed"]),
                "changes": parse_variant(wildcards["variant"]),
            }  # type: ignore[arg-type]
        )

    @classmethod
    def from_folder(cls, folder: str) -> "Run":
        """Rebuild the run from its folder.

        Raises
        ------
        PeslossError
            When the path is not one of a run.
        """
        parts = re.fullmatch(PATTERN, folder)
        if parts is None:
            raise wrong_value("run folder", "path", folder, WILDCARDS)
        return cls.from_wildcards(parts.groupdict())

    @property
    def columns(self) -> dict[str, Any]:
        """The run as columns of a tidy table."""
        shown = {key: value for key, value in asdict(self).items() if key != "changes"}
        return {**shown, "variant": self.variant}


def shortest(value: float) -> str:
    """Return the shortest text that is read back as ``value``: 0.1, 1, 1e-05."""
    return repr(float(value)).removesuffix(".0")


RUN_COLUMNS = tuple(Run("", "", "").columns)


def parse_variant(variant: str) -> tuple[tuple[str, float], ...]:
    """Read ``key=value~…`` of a path back into pairs; ``base`` is no change.

    Raises
    ------
    PeslossError
        When the text is neither.
    """
    if variant == BASE:
        return ()
    try:
        pairs = [part.split("=") for part in variant.split(AND)]
        return tuple((key, float(value)) for key, value in pairs)
    except ValueError:
        raise wrong_value("run folder", "variant", variant, f"{BASE} or key=value{AND}…") from None


def settings_of(
    run: Run, model: ModelSpec, training: TrainingSpec, where: str = ""
) -> tuple[ModelSpec, TrainingSpec]:
    """Return the model and training settings with the run's changes applied.

    Raises
    ------
    PeslossError
        Naming ``where`` (left out: the run) and the setting that does not exist or cannot be so.
    """
    where = where or f"run {run.folder}"
    kinds = {**dict.fromkeys(TRAINING_SETTINGS, 1), **dict.fromkeys(MODEL_SETTINGS, 0)}
    changed: list[dict[str, Any]] = [model.model_dump(), training.model_dump()]
    for key, value in run.changes:
        if key not in kinds:
            raise wrong_value(where, "vary", key, sorted(kinds))
        changed[kinds[key]][key] = _typed(key, value, where)
    return parse(ModelSpec, changed[0], where), parse(TrainingSpec, changed[1], where)


def _typed(key: str, value: float, where: str) -> bool | float:
    try:
        return typed(key, value)
    except ValueError as error:
        raise PeslossError(f"{where}: {error}") from None


def same_except(runs: list[dict[str, Any]], hashes: tuple[str, ...]) -> None:
    """Refuse to compare runs whose hashes differ.

    Parameters
    ----------
    runs
        The records of the runs to be compared.
    hashes
        The entries of ``record["hashes"]`` that have to agree.

    Raises
    ------
    PeslossError
        Naming the first hash that differs and the two runs, or one that a record lacks.
    """
    for record in runs:
        for key in hashes:
            if key not in record["hashes"]:
                raise PeslossError(
                    f"{record['run']}: hash of {key} is missing; needed to compare runs, so train "
                    "it again"
                )
            if record["hashes"][key] != runs[0]["hashes"][key]:
                raise PeslossError(
                    f"{record['run']}: hash of {key} is {record['hashes'][key]!r}; "
                    f"allowed: {runs[0]['hashes'][key]!r}, that of {runs[0]['run']}"
                )
