"""Ratios of a metric between groups of structures."""

from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.runs import cell_mean, families
from pesloss.statistics.dataset import OTHER

SMALLEST_GROUP = 20


def group_ratio(
    choosing: pd.DataFrame,
    choosing_values: Array,
    table: pd.DataFrame,
    values: Array,
    by: str,
    sampling: Sampling,
    **about: Any,
) -> Measurement | NotMeasurable:
    """Measure the log ratio of mean values between the groups that differ most elsewhere.

    Parameters
    ----------
    choosing, choosing_values
        K' structures and their values (n_seeds, K') on which the groups are chosen.
    table, values
        K structures and their values (n_seeds, K) on which the ratio is measured.
    by
        Column that holds the group.
    sampling, **about
        How the interval is made, and what the measurement is said to be about.

    Raises
    ------
    NotMeasurable
        When fewer than two groups have 20 structures in both tables.
    """
    big = [
        set(t[by].value_counts()[lambda n: n >= SMALLEST_GROUP].index) for t in (choosing, table)
    ]
    names = sorted((big[0] & big[1]) - {OTHER})
    if len(names) < 2:
        raise NotMeasurable(f"fewer than two values of {by} with {SMALLEST_GROUP} structures")
    means = {n: choosing_values[:, (choosing[by] == n).to_numpy()].mean() for n in names}
    high, low = max(names, key=lambda n: means[n]), min(names, key=lambda n: means[n])
    masks = [(table[by] == name).to_numpy() for name in (high, low)]

    def statistic(weights: Array) -> Array:
        above, below = (cell_mean(values[:, m], weights[:, :, m]) for m in masks)
        return np.asarray(np.log(above / below))

    return sampling.interval(
        statistic, families(table), len(values), group=f"{high} against {low}", **about
    )
