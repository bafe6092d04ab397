"""Does a structure's share of the gradient depend on its size? (C5)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures._slopes import slope_interval
from pesloss.claims.runs import Comparison
from pesloss.evaluation.results import RunResult

TITLE = "slope of gradient share"
EXPECTED = 0
MARGIN = 0.2
WHY = (
    "Shares of the gradient go as N^(α + β − p): alike for standardized (p = 1) if α and β are ½, "
    "as N for raw, as 1/N for per-atom. 0.2 is 0.1 in α."
)
SCOPE = "runs"
RUN_INPUTS = ("gradient_signal.csv",)
OPTIONS = {"of": ("energy_gradient", "energy_jacobian", "force_gradient")}


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the slope of a structure's gradient norm on log N, averaged over trained steps.

    ``energy_gradient`` is the gradient of the energy term by the parameters, expected to go as
    N^(α + β − p); ``energy_jacobian`` that of the predicted energy itself, whose slope is β
    (science.md §3). Each loss stands at its own best weight.
    """
    chosen = choose(options, OPTIONS, "gradient_signal_slope")
    for loss in data.losses:
        weight = data.best_weight(loss)
        parts = [_mean_norm(result, chosen["of"]) for result in data.of(loss, weight)]
        table = data.labels.set_index("structure").loc[parts[0].index].reset_index()
        values: Array = np.stack([part.to_numpy() for part in parts])
        yield slope_interval(table, values, sampling, loss=loss, force_weight=weight)


def _mean_norm(result: RunResult, column: str) -> "pd.Series[float]":
    table = result.gradient_signal
    table = table[table.step > 0]
    share = table[column] / table.groupby("step")[column].transform("mean")
    return share.groupby(table.structure).mean()
