"""Settings of a model and of its training, the same for every loss."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pesloss.specification import PositiveFloat, PositiveInt, Strict

Device = Literal["cpu", "auto"]


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
    term_constants: bool = Field(
        True, description="divide each term by its constant r_E or r_F; no: as codes have it"
    )
    standardized_outputs: bool = Field(
        True, description="multiply model outputs by σ_z; no: outputs in the energy unit itself"
    )
    units_per_ev: PositiveFloat = Field(
        1.0, description="train in another energy unit: 23.0605 for kcal/mol, 0.0367493 for Hartree"
    )
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
