"""How many times the data does a linear model need under a loss with the wrong exponent? (C8)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._linear import fits_of, measured
from pesloss.claims.measures._options import choose

TITLE = "data needed ÷ that under the best p"
WORDS = {
    "loss=raw": "",
    "loss=sqrt_root": "",
    "loss=sqrt_n": "",
    "loss=per_atom": "",
    "loss=standardized": "",
    "loss=correlated": "",
}
EXPECTED = 1
MARGIN = 0.1
WHY = "1 is the data that the best power of N needs, and 0.1 is ten per cent more."
SCOPE = "labels"
SUBJECT = "linear model"
INPUTS = ("linear/{dataset}.csv",)
OPTIONS = {"loss": ("raw", "sqrt_root", "sqrt_n", "per_atom", "standardized", "correlated")}


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the variance of predictions under a loss over that under the best power of N.

    Variances fall as one over the number of structures, so 1.5 means that half as much data again
    is needed for the same variance. The mean over groups of size is that of logarithms.
    """
    loss = choose(options, OPTIONS, "wrong_exponent_loss")["loss"]
    fits = fits_of(data)
    yield measured(fits, fits.log_multiplier(loss), sampling, np.exp, loss)
