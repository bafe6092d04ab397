"""Is E' unit normal? Its mean, its variance and its tails, overall and by group (C1)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pesloss.claims.measurement import Array, LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import cell_mean, families
from pesloss.statistics.tail import TAIL

TITLE = ""
WORDS = {
    "moment=variance": "variance",
    "moment=mean": "mean",
    "moment=tail": "tail",
    "by=size_group": "by size",
    "by=composition_group": "by composition",
    "by=phase": "by phase",
}
MINOR = ("moment=mean", "moment=tail")
EXPECTED = {"moment=mean": 0, "moment=tail": 0.01, "": 1}
MARGIN = {"moment=mean": 0.1, "moment=tail": 0.01, "": 0.2}
WHY = {
    "moment=mean": "A unit normal variable has mean 0; 0.1 is a tenth of the standard deviation.",
    "moment=tail": (
        "One in a hundred of a normal variable lies beyond ±2.576; up to two are let pass."
    ),
    "": "A unit normal variable has variance 1; 0.2 is ten per cent of a standard deviation.",
}
SCOPE = "labels"
OPTIONS = {
    "moment": ("variance", "mean", "tail"),
    "by": ("", "size_group", "composition_group", "phase"),
}
SMALLEST_GROUP = 20


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield mean, mean square or share beyond ±2.576 of E' of held-out labels.

    The variance is taken about 0, the mean that the claim states. Groups of fewer than 20
    held-out structures are passed over.
    """
    chosen = choose(options, OPTIONS, "label_moment")
    groups = data.held_out.groupby(chosen["by"]) if chosen["by"] else [("", data.held_out)]
    for name, table in groups:
        if len(table) < SMALLEST_GROUP:
            continue
        values = moment(chosen["moment"], table.standardized_energy.to_numpy())

        def statistic(weights: Array, values: Array = values) -> Array:
            return cell_mean(values[None], weights)

        yield sampling.interval(statistic, families(table), group=str(name))


def moment(name: str, values: Array) -> Array:
    """Return each value's contribution to a moment."""
    return {"mean": values, "variance": values**2, "tail": np.abs(values) > TAIL}[name].astype(
        float
    )
