"""What config.yaml and the files of ablations may say, and what each key means."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from pesloss.spec.settings import NUMBERS, SETTINGS, Device, Factor, ModelSpec, TrainingSpec, typed
from pesloss.spec.yaml_models import Count, Strict, parse

Relation = Literal["equals", "differs", "greater", "less"]
Times = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?x$")]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Value = Annotated[float, Field(ge=-1e12, le=1e12)] | Times
Split = Literal["train", "validation", "test"]
Share = Annotated[float, Field(gt=0, lt=1)]
FOLDER = re.compile(r"[A-Za-z0-9_./-]+")
PROJECT = ("config", "docs", "profiles", "results/reference", "src", "tests", "workflow")
Expected = Annotated[float, Field(ge=-1e9, le=1e9)]
Margin = Annotated[float, Field(ge=0, le=1e9)]
Outcome = Literal["supported", "contradicted", "undecided", "not_measurable"]


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
    force_weights: tuple[Factor, ...] | None = Field(
        None, description="force weights; left out: those of config.yaml"
    )
    seeds: tuple[Seed, ...] | None = Field(
        None, description="seeds; left out: those of config.yaml"
    )
    vary: dict[str, tuple[Value, ...]] = Field(
        {},
        description="keys of the model or training settings and the values to try; 5x is five "
        "times the value that the preset has",
    )
    tuned: tuple[str, ...] = Field(
        (),
        description="keys of `vary` of which each loss takes the value best on validation data",
    )

    @field_validator("vary")
    @classmethod
    def _settings_exist(cls, vary: dict[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
        for key, values in vary.items():
            if key not in SETTINGS:
                raise ValueError(f"no key {key!r}; allowed: {', '.join(sorted(SETTINGS))}")
            for value in values:
                _check_varied(key, value)
        return vary

    @model_validator(mode="after")
    def _tuned_are_varied(self) -> "RunGrid":
        for key in self.tuned:
            if key not in self.vary or key not in TrainingSpec.model_fields:
                known = [name for name in self.vary if name in TrainingSpec.model_fields]
                allowed = ", ".join(known) or "settings of the training in vary"
                raise ValueError(f"runs.tuned is {key!r}; allowed: {allowed}")
        return self


def _check_varied(key: str, value: float | str) -> None:
    """Refuse what a setting cannot be; a multiple is checked with the preset it depends on."""
    usual = SETTINGS[key].default
    if key not in NUMBERS and (isinstance(value, str) or not isinstance(usual, bool)):
        raise ValueError(f"{key} is {value!r}; allowed: for {', '.join(NUMBERS)}")
    if isinstance(value, str):
        if float(value.removesuffix("x")) == 0:
            raise ValueError(f"{key} is {value!r}; allowed: multiples above 0")
        return
    if key in TrainingSpec.model_fields:
        TrainingSpec.model_validate({key: typed(key, value)})
    else:
        ModelSpec.model_validate({"representation": "schnet", key: typed(key, value)})


class ClaimSpec(Strict):
    """One claim: a statistic, what it should be, and how sure one must be."""

    claim: str = Field(description="file in config/claims: claim, or question beyond them")
    statistic: str = Field(description="file in src/pesloss/claims/measures")
    options: dict[str, str | float | int] = Field({}, description="arguments of the statistic")
    losses: tuple[str, ...] | None = Field(None, description="energy losses it is about")
    groups: tuple[str, ...] | None = Field(
        None, description="groups it is about (of sizes, species, phases); left out: all"
    )
    relation: Relation = Field("equals", description="how the statistic relates to `expected`")
    expected: Expected | None = Field(
        None, description="the value under the claim; left out: that of the statistic"
    )
    margin: Margin | None = Field(
        None, description="the difference that does not matter; left out: that of the statistic"
    )
    why: str | None = Field(
        None,
        description="where `expected` and `margin` come from; left out: what the statistic says of "
        "its own",
    )
    level: float = Field(0.95, gt=0.5, le=0.9999, description="confidence level of the interval")
    must_be: Outcome | None = Field(
        None,
        description="verdict a control has to reach; any other fails the workflow; not_measurable: "
        "the statistic has to refuse the data",
    )

    def __str__(self) -> str:
        return f"{self.claim} {self.statistic}"


class Claim(ClaimSpec):
    """A claim whose expected value and margin are known (`pesloss.claims.measures.claims_of`)."""

    expected: Expected
    margin: Margin


class Ablation(Strict):
    """config/ablations/NAME.yaml: a question, the data and runs it needs, and its claims."""

    question: str = Field(description="what is asked, in one sentence")
    datasets: tuple[str, ...] = Field(
        min_length=1,
        description="names in config/datasets; `own`: those that no ablation names",
    )
    runs: RunGrid | None = Field(None, description="trainings; left out: labels only")
    why: str | None = Field(
        None, description="why these data, runs and values, where claims do not say it themselves"
    )
    claims: tuple[ClaimSpec, ...] = Field(min_length=1, description="what is decided")

    def settings(self) -> dict[str, Any]:
        """Return what decides claims: no text. `of_settings` is the inverse but for texts."""
        claims = [claim.model_dump(exclude={"why"}) for claim in self.claims]
        return {**self.model_dump(exclude={"question", "why", "claims"}), "claims": claims}

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> "Ablation":
        """Return the ablation of `settings`."""
        return parse(cls, {"question": "", **settings}, "ablation")

    @model_validator(mode="after")
    def _claims_have_a_subject(self) -> "Ablation":
        twice = repeated(self.claims)
        if twice is not None:
            raise ValueError(f"claims: {twice} is listed twice; allowed: once")
        trained = self.runs.energy_losses if self.runs else ()
        for loss in (loss for claim in self.claims for loss in claim.losses or ()):
            if loss not in trained:
                allowed = ", ".join(trained) or "none without runs"
                raise ValueError(f"claims.losses is {loss!r}; allowed: {allowed}")
        return self


def repeated(claims: Sequence[ClaimSpec]) -> ClaimSpec | None:
    """Return the first claim that says what one before it says; None where there is none."""
    keys = [(c.claim, c.statistic, c.losses, c.groups, str(c.options), c.expected) for c in claims]
    return next((claims[i] for i, key in enumerate(keys) if key in keys[:i]), None)


class Limits(Strict):
    """How much of each ablation a toy preset does: no more than these, the first ones."""

    datasets: Count | None = Field(None, description="datasets of an ablation")
    seeds: Count | None = Field(None, description="seeds")
    force_weights: Count | None = Field(None, description="force weights")
    values: Count | None = Field(None, description="values of each varied setting")


class SuiteConfig(Strict):
    """config/config.yaml: what is common to all ablations."""

    preset: str = Field("default", description="which of a dataset's sizes is used")
    datasets: tuple[str, ...] | None = Field(None, description="restrict to these; left out: all")
    mirror: str | None = Field(
        None, description="folder or base URL of files to fetch; left out: PESLOSS_MIRROR"
    )
    cache: str | None = Field(
        None, description="folder of fetched files; left out: PESLOSS_CACHE or ~/.cache/pesloss"
    )
    ablations: tuple[str, ...] | None = Field(None, description="restrict to these; left out: all")
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1, description="default seeds of runs")
    force_weights: tuple[Factor, ...] = Field(
        (0.1, 1.0, 10.0), min_length=1, description="default sweep of the force weight"
    )
    most: Limits = Limits()
    sweep_everywhere: bool = Field(
        False, description="sweep all force weights, also where an ablation names few of its own"
    )
    training: TrainingSpec = TrainingSpec()
    device: Device = Field(
        "cpu", description="what trainings run on; auto: a GPU where there is one, otherwise cpu"
    )
    splits: dict[Split, Share] = Field(
        {"train": 0.6, "validation": 0.15, "test": 0.25}, description="share of each split"
    )
    n_parts: Count = Field(6, le=1000, description="jobs over which one dataset is generated")
    n_resamples: Count = Field(
        2000, ge=100, le=10**6, description="bootstrap replicates of an interval"
    )
    n_linear_replicates: Count = Field(
        200, ge=2, le=10**5, description="resamples of the families in fits of linear models"
    )
    n_linear_draws: Count = Field(
        2000,
        ge=2,
        le=10**6,
        description="sets of energies drawn to check the exact variance of linear fits",
    )
    pathvars: dict[Literal["results"], str] = Field(
        {}, description="Snakemake's own: the results folder"
    )

    @field_validator("splits")
    @classmethod
    def _splits_are_whole(cls, splits: dict[Split, float]) -> dict[Split, float]:
        missing = [name for name in get_args(Split) if name not in splits]
        if missing:
            raise ValueError(
                f"splits.{missing[0]} is missing; allowed: {', '.join(get_args(Split))}"
            )
        if abs(sum(splits.values()) - 1) > 1e-9:
            raise ValueError(f"splits add up to {sum(splits.values()):.12g}; allowed: 1")
        return splits

    @field_validator("pathvars")
    @classmethod
    def _results_are_a_folder_of_their_own(
        cls, pathvars: dict[Literal["results"], str]
    ) -> dict[Literal["results"], str]:
        for path in pathvars.values():
            plain = PurePosixPath(path)
            inside = any(plain.is_relative_to(folder) for folder in PROJECT)
            usual = FOLDER.fullmatch(path) and str(plain) == path and plain.name
            if not usual or ".." in plain.parts or inside:
                allowed = "a folder of letters, digits, _, -, . and / without '..', none of"
                raise ValueError(f"results is {path!r}; allowed: {allowed} {', '.join(PROJECT)}")
        return pathvars

    @property
    def results(self) -> Path:
        """The results folder, from the project's folder."""
        return Path(self.pathvars.get("results", "results"))


class MoreSeeds(Strict):
    """config/more_seeds.yaml: how many seeds an ablation has, where it has more than the others."""

    seeds: dict[str, dict[str, Annotated[int, Field(gt=0, le=1000)]]] = Field(
        {}, description="by preset and ablation; the first seeds stay those of the preset"
    )
