"""Which exponent of a linear model's weights 1/N^p is best? (C7: twice that of its errors)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._linear import fits_of, measured
from pesloss.claims.measures._options import choose

TITLE = "best p"
SCOPE = "labels"
SUBJECT = "linear model"
INPUTS = ("linear/{dataset}.csv",)
OPTIONS = {
    "against": ("residuals", "nothing"),
    "score": ("variance", "error", "ev", "ev_per_root_atom", "ev_per_atom", "mean"),
}


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield best p − 2α with α the exponent of the fit's errors, or (``against: nothing``) best p.

    For independent errors whose variance goes as N^2α the best p is 2α (Gauss–Markov). Scores:
    `pesloss.linear.summary.SCORES`.
    """
    chosen = choose(options, OPTIONS, "best_exponent")
    fits = fits_of(data)
    found = fits.difference if chosen["against"] == "residuals" else fits.best
    yield measured(fits, found(chosen["score"]), sampling)
