"""How do deviations of raw energies grow with size? (C2)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures._slopes import slope_interval

TITLE = "exponent"
WORDS = {"estimator=gamma": "(gamma)", "estimator=line": "(line)", "by=phase": "by phase"}
EXPECTED = 0.5
MARGIN = 0.1
WHY = (
    "½ is what the proposal expects, whatever the phase. 0.1 is a fifth of the distance between ½ "
    "and 1; over two decades of size it makes a factor 1.6."
)
SCOPE = "labels"
OPTIONS = {"estimator": ("gamma", "line"), "by": ("", "phase")}
SMALLEST_GROUP = 40


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield α of ``⟨(E − Σμ_z)²⟩ ∝ N^(2α)`` on held-out labels.

    By gamma regression, or by a line through log|E − Σμ_z| (science.md §2: heavy tails at small N
    move the first and not the second). With ``by: phase`` each phase by itself, about its own mean
    energy per atom, for phases of several sizes and at least 40 held-out structures: size and
    phase are confounded where large cells are liquid and small ones crystals.
    """
    chosen = choose(options, OPTIONS, "label_exponent")
    line = chosen["estimator"] == "line"
    if not chosen["by"]:
        square = data.held_out.energy_deviation.to_numpy() ** 2
        yield slope_interval(data.held_out, square[None], sampling, half=True, line=line)
        return
    train = data.labels[data.labels.split == "train"]
    for phase, table in data.held_out.groupby("phase"):
        if len(table) >= SMALLEST_GROUP and table.n_atoms.nunique() > 1:
            shift = energy_shift(train[train.phase == phase])
            square = (table.energy_deviation - shift * table.n_atoms).to_numpy() ** 2
            yield slope_interval(
                table, square[None], sampling, half=True, line=line, group=str(phase)
            )


def energy_shift(train: pd.DataFrame) -> float:
    """Return the mean deviation per atom, eV, by least squares weighted with ``1 / Σσ_z²``."""
    if train.empty:
        return 0.0
    n, weight = train.n_atoms.to_numpy(float), train.energy_scale.to_numpy() ** -2
    deviation: Array = train.energy_deviation.to_numpy()
    return float(np.sum(weight * n * deviation) / np.sum(weight * n**2))
