"""Does the correlation of local energies predict how energy deviations grow? (C2)."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from pesloss.claims.correlation import MODELS, PRODUCT_COLUMNS, PairMoments, parts
from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose

TITLE = "exponent less that predicted,"
WORDS = {
    "model=shared": "part shared by all atoms",
    "model=short_range": "neighbours correlated",
    "model=independent": "independent atoms",
    "by=phase": "by phase",
}
EXPECTED = 0
MARGIN = 0.1
WHY = (
    "Measured less predicted exponent: 0 where the pairs that are kept explain the growth. 0.1 is "
    "a fifth of the distance between ½ and 1; over two decades of size it makes a factor 1.6."
)
SCOPE = "labels"
OPTIONS = {"model": MODELS[::-1], "by": ("", "phase")}
INPUTS = ("statistics/{dataset}/correlation.csv",)
SMALLEST_GROUP = 40


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the measured less the predicted exponent of ``⟨(E − Σμ_z)²⟩ ∝ N^(2α)``.

    On held-out labels, from the correlation of ``ε_i − μ_z``; see ``predicted_exponent``.
    """
    chosen = choose(options, OPTIONS, "predicted_label_exponent")
    moments, table = moments_of(data), data.held_out
    for phase, mask in parts(table, chosen["by"], SMALLEST_GROUP).items():
        part = moments.within(mask)
        yield sampling.interval(part.difference(chosen["model"]), part.family, group=phase)


def moments_of(data: LabelData) -> PairMoments:
    """Return the pair moments of the held-out labels."""
    table: pd.DataFrame = data.held_out
    square = table.energy_deviation.to_numpy()[None] ** 2
    return PairMoments.of_tables(table, square, [data.table(INPUTS[0], PRODUCT_COLUMNS)])
