"""What the YAML files under config/ may say, and what each key means."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pesloss.errors import PeslossError, wrong_value

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Relation = Literal["equals", "differs", "greater", "less"]
Outcome = Literal["supported", "contradicted", "undecided"]


class Strict(BaseModel):
    """Base of every specification: immutable, and no key is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSpec(Strict):
    """config/models/NAME.yaml: a SchNetPack model, the same for every loss."""

    representation: Literal["schnet", "painn"] = Field(description="SchNetPack representation")
    n_features: PositiveInt = Field(32, description="features per atom")
    n_interactions: PositiveInt = Field(2, description="interaction blocks")
    n_radial: PositiveInt = Field(16, description="Gaussian radial functions")
    cutoff: PositiveFloat = Field(5.0, description="cutoff radius of the neighbour list, Å")


class TrainingSpec(Strict):
    """How a model is trained; the same for every loss."""

    n_steps: PositiveInt = Field(1000, description="optimiser steps")
    batch_size: PositiveInt = Field(10, description="structures per step")
    learning_rate: PositiveFloat = Field(2e-3, description="Adam's peak learning rate")
    warmup_fraction: float = Field(0.05, ge=0, lt=1, description="share of steps of linear warm-up")
    huber_delta: PositiveFloat = Field(1.0, description="Huber's δ on the standardised argument")
    n_validations: PositiveInt = Field(10, description="points of the validation curve")
    n_validation_structures: PositiveInt = Field(96, description="structures of that curve")
    signal_at: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.1, 0.5, 1.0),
        description="shares of the training at which the signal is measured; 1 among them",
    )
    n_signal_structures: PositiveInt = Field(
        64, description="training structures it is measured on"
    )

    @field_validator("signal_at")
    @classmethod
    def _ends_with_the_training(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if 1.0 not in shares:
            raise ValueError("1.0, the end of the training, has to be among the shares")
        return shares


class RunGrid(Strict):
    """The runs an ablation needs: every combination of the lists."""

    models: tuple[str, ...] = Field(("schnet",), description="names in config/models")
    energy_losses: tuple[str, ...] = Field(
        ("raw", "sqrt_n", "per_atom", "standardized"), description="files in losses/energy"
    )
    force_losses: tuple[str, ...] = Field(("raw",), description="files in losses/forces")
    metrics: tuple[Literal["mse", "mae", "huber"], ...] = Field(
        ("mse",), description="metric of both terms"
    )
    force_weights: tuple[PositiveFloat, ...] | None = Field(
        None, description="force weights; left out: those of config.yaml"
    )
    seeds: tuple[int, ...] | None = Field(None, description="seeds; left out: those of config.yaml")
    vary: dict[str, tuple[float, ...]] = Field(
        {}, description="keys of the model or training settings and the values to try"
    )


class ClaimSpec(Strict):
    """One claim: a statistic, what it should be, and how sure one must be."""

    claim: str = Field(pattern=r"^C([1-9]|1[0-2])$", description="id in the list of claims")
    statistic: str = Field(description="file in src/pesloss/claims")
    options: dict[str, str | float | int] = Field({}, description="arguments of the statistic")
    losses: tuple[str, ...] | None = Field(None, description="energy losses it is about")
    relation: Relation = Field("equals", description="how the statistic relates to `expected`")
    expected: float = Field(description="the value under the claim")
    margin: Annotated[float, Field(ge=0)] = Field(description="the difference that does not matter")
    level: float = Field(0.95, gt=0.5, lt=1, description="confidence level of the interval")
    must_be: Outcome | None = Field(
        None, description="verdict a control has to reach; any other fails the workflow"
    )


class Ablation(Strict):
    """config/ablations/NAME.yaml: a question, the data and runs it needs, and its claims."""

    question: str = Field(description="what is asked, in one sentence")
    datasets: tuple[str, ...] = Field(min_length=1, description="names in config/datasets")
    runs: RunGrid | None = Field(None, description="trainings; left out: labels only")
    claims: tuple[ClaimSpec, ...] = Field(min_length=1, description="what is decided")

    @model_validator(mode="after")
    def _claims_are_distinct(self) -> "Ablation":
        keys = [(c.claim, c.statistic, c.losses, str(c.options), c.expected) for c in self.claims]
        twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
        if twice is not None:
            raise ValueError(f"claims: {twice[0]} {twice[1]} is listed twice; allowed: once")
        return self


class SuiteConfig(Strict):
    """config/config.yaml: what is common to all ablations."""

    preset: str = Field("default", description="which of a dataset's sizes is used")
    datasets: tuple[str, ...] | None = Field(None, description="restrict to these; left out: all")
    ablations: tuple[str, ...] | None = Field(None, description="restrict to these; left out: all")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="default seeds of runs")
    force_weights: tuple[PositiveFloat, ...] = Field(
        (0.1, 1.0, 10.0), min_length=1, description="default sweep of the force weight"
    )
    training: TrainingSpec = TrainingSpec()
    splits: dict[str, float] = Field(
        {"train": 0.6, "validation": 0.15, "test": 0.25}, description="share of each split"
    )
    n_parts: PositiveInt = Field(6, description="jobs over which one dataset is generated")
    n_resamples: PositiveInt = Field(2000, description="bootstrap replicates of an interval")
    pathvars: dict[str, str] = Field({}, description="Snakemake's own: the results folder")


T = TypeVar("T", bound=BaseModel)


def parse(spec: type[T], content: Any, where: str) -> T:
    """Check ``content`` against ``spec``.

    Raises
    ------
    PeslossError
        One line that names the file ``where``, the key, the value and what is allowed.
    """
    try:
        return spec.model_validate(content)
    except ValidationError as error:
        raise PeslossError(_one_line(spec, error, where)) from None


def _one_line(spec: type[BaseModel], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "content"
    if first["type"] == "extra_forbidden":
        holder = _spec_at(spec, first["loc"][:-1])
        return f"{where}: unknown key {key!r}; allowed: {', '.join(sorted(holder.model_fields))}"
    if first["type"] == "missing":
        return f"{where}: key {key!r} is missing ({first['msg'].lower()})"
    if first["type"] == "value_error" and not first["loc"]:
        return f"{where}: {first['ctx']['error']}"
    return f"{where}: {key} is {first['input']!r}; {first['msg'].lower()}"


def _spec_at(spec: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, str) and part in spec.model_fields:
            spec = next(_specs_in(spec.model_fields[part].annotation), spec)
    return spec


def _specs_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _specs_in(inner)


def read_yaml(path: Path | str) -> Any:
    """Read one YAML document.

    Raises
    ------
    PeslossError
        When the file is missing or is no YAML, with the line of the mistake.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise PeslossError(f"{path}: no such file") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise PeslossError(f"{path}: not YAML ({' '.join(str(error).split())})") from None


def load(spec: type[T], path: Path | str) -> T:
    """Read the YAML file ``path`` and check it against ``spec``."""
    return parse(spec, read_yaml(path), str(path))


def load_all(spec: type[T], folder: Path | str) -> dict[str, T]:
    """Read every ``*.yaml`` in ``folder``; the name of an entry is its file's stem."""
    return {path.stem: load(spec, path) for path in sorted(Path(folder).glob("*.yaml"))}


def check_names(where: str, key: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first of ``names`` that is not ``known``."""
    known = sorted(known)
    for name in names:
        if name not in known:
            raise wrong_value(where, key, name, known)
