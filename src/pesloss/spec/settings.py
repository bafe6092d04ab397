"""Settings of a model and of its training, the same for every loss."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pesloss.spec.names import Titled
from pesloss.spec.yaml_models import Count, PositiveFloat, Strict

Device = Literal["cpu", "auto"]
Factor = Annotated[float, Field(ge=1e-9, le=1e9)]


class ModelSpec(Titled):
    """config/models/NAME.yaml: a SchNetPack model, the same for every loss."""

    representation: Literal["schnet", "painn"] = Field(description="SchNetPack representation")
    n_features: Count = Field(32, le=4096, description="features per atom")
    n_interactions: Count = Field(2, le=64, description="interaction blocks")
    n_radial: Count = Field(16, le=1024, description="Gaussian radial functions")
    cutoff: PositiveFloat = Field(5.0, le=30, description="cutoff radius of the neighbour list, Å")

    @field_validator("cutoff")
    @classmethod
    def _names_a_file(cls, cutoff: float) -> float:
        text = f"{cutoff:g}"  # part of the name of a file of neighbour lists
        if float(text) != cutoff or "e" in text:
            raise ValueError("allowed: from 0.0001 on, up to six digits")
        return cutoff


class TrainingSpec(Strict):
    """How a model is trained; the same for every loss."""

    n_steps: Count = Field(1000, description="optimiser steps")
    batch_size: Count = Field(10, description="structures per step")
    learning_rate: PositiveFloat = Field(2e-3, le=1, description="Adam's peak learning rate")
    warmup_fraction: float = Field(0.05, ge=0, lt=1, description="share of steps of linear warm-up")
    term_constants: bool = Field(
        True, description="divide each term by its constant r_E or r_F; no: as codes have it"
    )
    standardized_outputs: bool = Field(
        True, description="multiply model outputs by σ_z; no: outputs in the energy unit itself"
    )
    units_per_ev: Factor = Field(
        1.0, description="train in another energy unit: 23.0605 for kcal/mol, 0.0367493 for Hartree"
    )
    huber_delta: Factor = Field(1.0, description="Huber's δ on the standardised argument")
    n_validations: Count = Field(10, le=10**4, description="points of the validation curve")
    n_validation_structures: Count = Field(96, description="structures of that curve")
    signal_at: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.1, 0.5, 1.0),
        description="shares of the training at which the signal is measured; 1 among them",
    )
    n_signal_structures: Count = Field(64, description="training structures it is measured on")

    @field_validator("signal_at")
    @classmethod
    def _ends_with_the_training(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if 1.0 not in shares:
            raise ValueError("1.0, the end of the training, has to be among the shares")
        return shares


TRAINING_SETTINGS = dict(TrainingSpec.model_fields)
MODEL_SETTINGS = {key: f for key, f in ModelSpec.model_fields.items() if not f.exclude}
SETTINGS = {**TRAINING_SETTINGS, **MODEL_SETTINGS}
NUMBERS = sorted(key for key, field in SETTINGS.items() if type(field.default) in (int, float))


def typed(key: str, value: float) -> bool | float:
    """Return a number as the type that the setting ``key`` has: whole, or yes and no.

    Raises
    ------
    ValueError
        For a yes or no that is neither 0 nor 1.
    """
    if SETTINGS[key].annotation is bool:
        if value not in (0, 1):
            raise ValueError(f"{key} is {value!r}; allowed: 0 and 1, for a boolean")
        return bool(value)
    return int(value) if value == int(value) else value
