"""How do the errors of trained models grow with size? (C7)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import Measurement, NotMeasurable, Sampling
from pesloss.claims.runs import Comparison
from pesloss.claims.statistics._options import choose
from pesloss.claims.statistics._slopes import slope_interval

SCOPE = "runs"
OPTIONS = {"of": ("energy", "forces")}


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield α of ``⟨ΔE²⟩ ∝ N^(2α)`` on test structures for each loss at its own best weight.

    With ``of: forces`` the same of the mean squared force error of a structure (C10).
    """
    chosen = choose(options, OPTIONS, "error_exponent")
    for loss in data.losses:
        weight = data.best_weight(loss)
        values = data.values(
            loss,
            weight,
            lambda t: t.energy_error**2 if chosen["of"] == "energy" else t.force_mse,
        )
        yield slope_interval(
            data.tested(), values, sampling, half=True, loss=loss, force_weight=weight
        )
