"""Slopes on log N with intervals, for labels and for errors of trained models."""

from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.runs import families
from pesloss.inference import exponent_of, line_exponent_of


def label_slope(
    data: LabelData, values: Array, sampling: Sampling, half: bool = False, line: bool = False
) -> Measurement | NotMeasurable:
    """Measure the slope of log⟨values⟩ on log N over held-out structures."""
    return slope_interval(data.held_out, values[None], sampling, half, line)


def slope_interval(
    table: pd.DataFrame,
    values: Array,
    sampling: Sampling,
    half: bool = False,
    line: bool = False,
    **about: Any,
) -> Measurement | NotMeasurable:
    """Measure the slope of log⟨values⟩ on log N.

    Parameters
    ----------
    table
        K structures with group (family) and n_atoms.
    values
        (n_seeds, K), not negative.
    half
        Return half the slope: the exponent of the root of squared errors.
    line
        Fit a line through the logarithms in place of a gamma regression.
    sampling, **about
        How the interval is made, and what the measurement is said to be about.

    Raises
    ------
    NotMeasurable
        When all structures have the same size.
    """
    sizes = table.n_atoms.to_numpy(float)
    if len(np.unique(sizes)) < 2:
        raise NotMeasurable(
            f"all structures have {sizes[0]:g} atoms" if len(sizes) else "no structure"
        )
    n_seeds = len(values)
    tiled, flat = np.tile(sizes, n_seeds), values.ravel()
    fit, factor = (line_exponent_of, 1.0) if line else (exponent_of, 1.0 if half else 2.0)

    def statistic(weights: Array) -> Array:
        return factor * fit(tiled, flat, weights.reshape(len(weights), -1))

    return sampling.interval(statistic, families(table), n_seeds, **about)
