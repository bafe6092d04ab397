"""What config.yaml and the files of ablations may say, and what each key means."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pesloss.settings import Device, ModelSpec, TrainingSpec
from pesloss.specification import PositiveFloat, PositiveInt, Strict

Relation = Literal["equals", "differs", "greater", "less"]
Times = Annotated[str, Field(pattern=r"^\d+(\.\d+)?x$")]
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
    force_weights: tuple[PositiveFloat, ...] | None = Field(
        None, description="force weights; left out: those of config.yaml"
    )
    seeds: tuple[int, ...] | None = Field(None, description="seeds; left out: those of config.yaml")
    vary: dict[str, tuple[float | Times, ...]] = Field(
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
    def _settings_exist(
        cls, vary: dict[str, tuple[float | Times, ...]]
    ) -> dict[str, tuple[float | Times, ...]]:
        fields = {**TrainingSpec.model_fields, **ModelSpec.model_fields}
        numbers = [name for name, field in fields.items() if type(field.default) in (int, float)]
        for key, values in vary.items():
            known = sorted(fields)
            if key not in known:
                raise ValueError(f"no key {key!r}; allowed: {', '.join(known)}")
            for value in values:
                if isinstance(value, str):  # checked with the preset, which it depends on
                    if key not in numbers:
                        allowed = f"for {', '.join(sorted(numbers))}"
                        raise ValueError(f"{key} is {value!r}; allowed: {allowed}")
                    continue
                if key in TrainingSpec.model_fields:
                    TrainingSpec.model_validate({key: value})
                else:
                    ModelSpec.model_validate({"representation": "schnet", key: value})
        return vary

    @model_validator(mode="after")
    def _tuned_are_varied(self) -> "RunGrid":
        for key in self.tuned:
            if key not in self.vary or key not in TrainingSpec.model_fields:
                known = [name for name in self.vary if name in TrainingSpec.model_fields]
                allowed = ", ".join(known) or "settings of the training in vary"
                raise ValueError(f"runs.tuned is {key!r}; allowed: {allowed}")
        return self


class ClaimSpec(Strict):
    """One claim: a statistic, what it should be, and how sure one must be."""

    claim: str = Field(
        pattern=r"^(C([1-9]|1[0-2])|Q[1-5])$", description="claim, or question beyond them"
    )
    statistic: str = Field(description="file in src/pesloss/claims")
    options: dict[str, str | float | int] = Field({}, description="arguments of the statistic")
    losses: tuple[str, ...] | None = Field(None, description="energy losses it is about")
    groups: tuple[str, ...] | None = Field(
        None, description="groups it is about (of sizes, species, phases); left out: all"
    )
    relation: Relation = Field("equals", description="how the statistic relates to `expected`")
    expected: float = Field(description="the value under the claim")
    margin: Annotated[float, Field(ge=0)] = Field(description="the difference that does not matter")
    why: str | None = Field(None, description="where `expected` and `margin` come from")
    level: float = Field(0.95, gt=0.5, lt=1, description="confidence level of the interval")
    must_be: Outcome | None = Field(
        None,
        description="verdict a control has to reach; any other fails the workflow; not_measurable: "
        "the statistic has to refuse the data",
    )


class Ablation(Strict):
    """config/ablations/NAME.yaml: a question, the data and runs it needs, and its claims."""

    question: str = Field(description="what is asked, in one sentence")
    datasets: tuple[str, ...] = Field(
        min_length=1,
        description="names in config/datasets; `own`: those that no ablation names",
    )
    runs: RunGrid | None = Field(None, description="trainings; left out: labels only")
    why: str | None = Field(
        None, description="why these values and margins, where claims do not say it themselves"
    )
    claims: tuple[ClaimSpec, ...] = Field(min_length=1, description="what is decided")

    @model_validator(mode="after")
    def _claims_have_a_subject(self) -> "Ablation":
        keys = [
            (c.claim, c.statistic, c.losses, c.groups, str(c.options), c.expected)
            for c in self.claims
        ]
        twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
        if twice is not None:
            raise ValueError(f"claims: {twice[0]} {twice[1]} is listed twice; allowed: once")
        trained = self.runs.energy_losses if self.runs else ()
        for loss in (loss for claim in self.claims for loss in claim.losses or ()):
            if loss not in trained:
                allowed = ", ".join(trained) or "none without runs"
                raise ValueError(f"claims.losses is {loss!r}; allowed: {allowed}")
        return self


class Limits(Strict):
    """How much of each ablation a toy preset does: no more than these, the first ones."""

    datasets: PositiveInt | None = Field(None, description="datasets of an ablation")
    seeds: PositiveInt | None = Field(None, description="seeds")
    force_weights: PositiveInt | None = Field(None, description="force weights")
    values: PositiveInt | None = Field(None, description="values of each varied setting")


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
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="default seeds of runs")
    force_weights: tuple[PositiveFloat, ...] = Field(
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
    splits: dict[str, float] = Field(
        {"train": 0.6, "validation": 0.15, "test": 0.25}, description="share of each split"
    )
    n_parts: PositiveInt = Field(6, description="jobs over which one dataset is generated")
    n_resamples: PositiveInt = Field(2000, description="bootstrap replicates of an interval")
    n_linear_replicates: PositiveInt = Field(
        200, description="resamples of the families in fits of linear models"
    )
    n_linear_draws: PositiveInt = Field(
        2000, description="sets of energies drawn to check the exact variance of linear fits"
    )
    pathvars: dict[str, str] = Field({}, description="Snakemake's own: the results folder")
