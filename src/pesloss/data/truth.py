"""What theory says of a dataset's energies before any of them is computed."""

from typing import Annotated, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from pesloss.spec.yaml_models import NotNegative, PositiveFloat, Strict

ROUNDED = 0.05
"""How far a crossing may be from σ²/τ²: numbers of a card are rounded."""
Tolerance = Annotated[float, Field(gt=0, lt=1)]


class Truth(Strict):
    """``Var(E − Σ n_z μ_z) = σ² N + τ² N²``, with values that are known beforehand."""

    formula: str = Field(min_length=1, description="where the values come from")
    sigma: PositiveFloat = Field(description="σ: what atoms deviate by on their own, eV")
    tau: NotNegative = Field(0.0, description="τ: what all atoms of a structure share, eV")
    crossing: PositiveFloat | None = Field(
        None, description="N* = σ²/τ²: atoms at which both parts are equal; left out: τ is 0"
    )
    tolerance: Tolerance = Field(0.1, description="how far the sample may be, as a share")

    @model_validator(mode="after")
    def _crossing_is_that_of_the_scales(self) -> Self:
        if (self.crossing is None) != (self.tau == 0):
            raise ValueError(f"crossing is {self.crossing}; allowed: with a tau above 0 alone")
        if self.crossing is not None:
            exact = (self.sigma / self.tau) ** 2
            if abs(self.crossing / exact - 1) > ROUNDED:
                said = f"σ²/τ² of sigma and tau, {exact:.3g}"
                raise ValueError(f"crossing is {self.crossing:g}; allowed: {said}")
        return self

    def deviation(self, n_atoms: ArrayLike) -> NDArray[np.float64]:
        """Return the expected root mean square of ``E − Σ n_z μ_z``, eV, by number of atoms."""
        n = np.asarray(n_atoms, dtype=np.float64)
        return np.asarray(np.sqrt(self.sigma**2 * n + (self.tau * n) ** 2))
