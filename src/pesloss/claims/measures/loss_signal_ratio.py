"""Does a structure's share of the energy loss depend on its composition? (C6)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._groups import group_ratio
from pesloss.claims.measures._options import choose
from pesloss.claims.measures.loss_signal_slope import last_window
from pesloss.claims.runs import Comparison

TITLE = "log ratio of loss shares"
EXPECTED = 0
MARGIN = 0.405
WHY = (
    "0: composition does not matter. 0.405 = log 1.5: two composition groups may differ by a "
    "factor 1.5 in their share of the loss."
)
SCOPE = "runs"
RUN_INPUTS = ("loss_signal.csv.gz",)


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the log ratio of mean energy terms between two composition groups, late in training.

    0 means that structures of both groups have the same share of the loss. The groups are those
    that differ most on one half of the families, the ratio is measured on the other half. Each
    loss stands at its own best weight.
    """
    choose(options, {}, "loss_signal_ratio")
    for loss in data.losses:
        weight = data.best_weight(loss)
        parts = [last_window(result) for result in data.of(loss, weight)]
        shared = sorted(set.intersection(*(set(part.index) for part in parts)))
        table = data.labels.set_index("structure").loc[shared].reset_index()
        values: Array = np.stack([part.loc[shared].to_numpy() for part in parts])
        first = first_half(table)
        yield group_ratio(
            table[first],
            values[:, first],
            table[~first].reset_index(drop=True),
            values[:, ~first],
            "composition_group",
            sampling,
            loss=loss,
            force_weight=weight,
        )


def first_half(table: pd.DataFrame) -> "np.typing.NDArray[np.bool_]":
    """Return every second family, in the order of their names."""
    order = {name: i for i, name in enumerate(sorted(table["group"].unique()))}
    return np.array([order[name] % 2 == 0 for name in table["group"]], dtype=bool)
