"""Do drawn energies vary as the formula of the variance says? (C2, control; science.md §2)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import cell_mean, families
from pesloss.inference import exponent_of

TITLE = ""
WORDS = {
    "of=variance": "variance ÷ formula",
    "of=exponent": "exponent − formula",
    "by=phase": "by phase",
    "by=size_group": "by size",
}
EXPECTED = {"of=exponent": 0, "": 1}
MARGIN = {"of=exponent": 0.1, "": 0.2}
WHY = {
    "of=exponent": (
        "The formula is exact: 0 is the difference of exponents. 0.1 is a fifth of the distance "
        "between ½ and 1; over two decades of size it makes a factor 1.6."
    ),
    "": "The formula is exact: 1 is the ratio to it; 0.2 is ten per cent of a standard deviation.",
}
SCOPE = "labels"
INPUTS = ("data/{dataset}/structures.csv",)
OPTIONS = {"of": ("variance", "exponent"), "by": ("phase", "size_group")}
VARIANCE = "energy_variance"


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield by group of held-out labels the mean of deviation² over the formula's variance.

    1 is agreement. With ``of: exponent`` the exponent of the deviations less that of the formula's
    variances at the same sizes, both by gamma regression; 0 is agreement.
    """
    chosen = choose(options, OPTIONS, "variance_against_formula")
    known = data.table(INPUTS[0], ("structure", VARIANCE))
    table = data.held_out.merge(known[["structure", VARIANCE]], on="structure")
    for name, group in table.groupby(chosen["by"]):
        square = group.energy_deviation.to_numpy() ** 2
        variance = group[VARIANCE].to_numpy(float)
        statistic = _exponents if chosen["of"] == "exponent" else _ratio
        yield statistic(group, square, variance, sampling, str(name))


def _ratio(
    table: pd.DataFrame, square: Array, variance: Array, sampling: Sampling, name: str
) -> Measurement | NotMeasurable:
    values = (square / variance)[None]
    return sampling.interval(lambda w: cell_mean(values, w), families(table), group=name)


def _exponents(
    table: pd.DataFrame, square: Array, variance: Array, sampling: Sampling, name: str
) -> Measurement | NotMeasurable:
    n_atoms = table.n_atoms.to_numpy(float)

    def statistic(weights: Array) -> Array:
        w = weights[:, 0]
        return np.asarray(exponent_of(n_atoms, square, w) - exponent_of(n_atoms, variance, w))

    return sampling.interval(statistic, families(table), group=name)
