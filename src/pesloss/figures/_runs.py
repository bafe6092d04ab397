"""Which runs a figure compares, and averages over their seeds and force weights."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pesloss.controls import is_control

CELL = ["dataset", "model", "energy_loss"]


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of runs that differ in model, energy loss, force weight and seed alone.

    Control losses, which are no losses to train with, are left out.
    """
    usual = (table.variant == "base") & (table.metric == "mse") & (table.force_loss == "raw")
    return table[usual & ~table.energy_loss.map(is_control).astype(bool)]


def at_best_weight(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each loss at the force weight with the lowest mean validation score."""
    scores = comparable(runs).groupby([*CELL, "force_weight"]).validation_score.mean().reset_index()
    best = scores.sort_values(["validation_score", "force_weight"]).drop_duplicates(CELL)
    return comparable(table).merge(best[[*CELL, "force_weight"]], on=[*CELL, "force_weight"])


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
