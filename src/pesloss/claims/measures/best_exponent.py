"""Which exponent of a linear model's weights 1/N^p is best? (C7: twice that of its errors)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._linear import fits_of, measured
from pesloss.claims.measures._options import choose

TITLE = "best p"
WORDS = {
    "against=residuals": "− 2α of the errors",
    "against=nothing": "",
    "score=variance": "(variance)",
    "score=error": "(test error)",
}
EXPECTED = {"against=nothing": 1, "": 0}
MARGIN = {"against=nothing": 0.25, "": 0.5}
WHY = {
    "against=nothing": (
        "The proposal's α = ½ gives p = 1; values within 0.25 of it are nearer to 1 than to any "
        "other p in use."
    ),
    "": (
        "By Gauss and Markov the best exponent p is 2α for independent errors, so their "
        "difference is 0; 0.5 is a quarter of the distance between the raw (p = 0) and the "
        "per-atom loss (p = 2)."
    ),
}
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
