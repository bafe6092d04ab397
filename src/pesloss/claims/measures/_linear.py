"""Measurements of the fits of linear models, whose replicates are in their table."""

from collections.abc import Callable

import numpy as np

from pesloss.claims.measurement import Array, LabelData, Measurement, NotMeasurable, Sampling
from pesloss.job.errors import PeslossError
from pesloss.linear.summary import Fits


def fits_of(data: LabelData) -> Fits:
    """Read the fits of a dataset."""
    from pesloss.linear.fit import COLUMNS  # with torch, which a plan is made without

    return Fits(data.table("linear/{dataset}.csv", COLUMNS))


def measured(
    fits: Fits,
    values: Array,
    sampling: Sampling,
    of: Callable[[float], float] = float,
    loss: str = "",
) -> Measurement | NotMeasurable:
    """Return the value of the first replicate with an interval from the others.

    Parameters
    ----------
    fits
        Where the values come from.
    values
        (R,) one a replicate.
    sampling
        Its level is used; replicates were drawn when the fits were made.
    of
        Monotonic function to report in place of the values, such as the exponential.
    loss
        The loss it is about.
    """
    try:
        ends = fits.interval(np.asarray(values), sampling.level)
    except PeslossError as too_few:
        return NotMeasurable(str(too_few))
    n = int(fits.table.n_structures.iloc[0])
    estimate, low, high = (float(of(end)) for end in ends)
    return Measurement(estimate, low, high, n, 1, loss=loss)
