"""How do deviations of raw energies grow with size? (C2)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import LabelData, Measurement, Sampling
from pesloss.claims.statistics._options import choose
from pesloss.claims.statistics._slopes import label_slope

SCOPE = "labels"
OPTIONS = {"estimator": ("gamma", "line")}


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement]:
    """Yield α of ``⟨(E − Σμ_z)²⟩ ∝ N^(2α)`` on held-out labels.

    By gamma regression, or by a line through log|E − Σμ_z| (science.md §2: heavy tails at small N
    move the first and not the second).
    """
    chosen = choose(options, OPTIONS, "label_exponent")
    square = data.held_out.energy_deviation.to_numpy() ** 2
    yield label_slope(data, square, sampling, half=True, line=chosen["estimator"] == "line")
