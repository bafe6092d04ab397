"""Does a structure's share of the energy loss depend on its size? (C5)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures._slopes import slope_interval
from pesloss.claims.runs import Comparison
from pesloss.evaluation.results import RunResult

TITLE = "slope of loss share"
EXPECTED = 0
MARGIN = 0.2
WHY = (
    "Shares of the loss go as N^(2α − p): alike for standardized (p = 1) if α is ½, as N for raw, "
    "as 1/N for per-atom. 0.2 is 0.1 in α."
)
SCOPE = "runs"
RUN_INPUTS = ("loss_signal.csv.gz",)


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the slope of a structure's mean energy term on log N over the second half of training.

    0 means that every structure has the same share of the loss whatever its size; science.md §3
    expects 2α − p. Each loss stands at its own best weight.
    """
    choose(options, {}, "loss_signal_slope")
    for loss in data.losses:
        weight = data.best_weight(loss)
        runs = data.of(loss, weight)
        parts = [last_window(result) for result in runs]
        shared = sorted(set.intersection(*(set(part.index) for part in parts)))
        table = data.labels.set_index("structure").loc[shared].reset_index()
        values: Array = np.stack([part.loc[shared].to_numpy() for part in parts])
        yield slope_interval(table, values, sampling, loss=loss, force_weight=weight)


def last_window(result: RunResult) -> "pd.Series[float]":
    """Return the mean energy term of each training structure over the last window of steps."""
    table = result.loss_signal
    last = table[table.step == table.step.max()]
    return pd.Series(last.energy_term.to_numpy(float), index=last.structure.to_numpy())
