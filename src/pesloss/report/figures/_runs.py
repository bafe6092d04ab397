"""Averages over seeds and force weights."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def over_weights(table: pd.DataFrame, keys: Sequence[str], column: str) -> pd.DataFrame:
    """Average ``column`` geometrically over force weights, then over seeds.

    Returns
    -------
    DataFrame
        ``keys``, ``value``, ``low`` and ``high`` (lowest and highest seed) and ``n_seeds``.
    """
    positive = table[table[column] > 0]
    log = np.log(positive[column]).rename("log")
    seeds = positive[[*keys, "seed"]].assign(log=log).groupby([*keys, "seed"]).log.mean()
    found = seeds.groupby(list(keys)).agg(["mean", "min", "max", "count"]).reset_index()
    found[["mean", "min", "max"]] = np.exp(found[["mean", "min", "max"]])
    names = {"mean": "value", "min": "low", "max": "high", "count": "n_seeds"}
    return found.rename(columns=names)
