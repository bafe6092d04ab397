"""How a model is judged, and which force weight is best by that (science.md §5)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pesloss.losses.controls import is_control
from pesloss.spec.run import BASE

Array = NDArray[np.float64]

CELL = ["dataset", "model", "energy_loss"]


def score(errors: pd.DataFrame) -> float:
    """Judge a model by energies and forces alike, leaning to no normalisation of the energy.

    Half the logarithm of the force RMSE plus half the mean, over p = 0, 1, 2, of the logarithm of
    the root mean square of ``ΔE / N^(p/2)``.
    """
    return float(weighted_score(score_terms(errors)[None], np.ones((1, 1, len(errors))))[0])


def score_terms(errors: pd.DataFrame) -> Array:
    """Return what a score averages: ``ΔE²/N^p`` for p = 0, 1, 2, ``N·MSE_F`` and N, (5, K)."""
    n = errors.n_atoms.to_numpy(float)
    square = errors.energy_error.to_numpy() ** 2
    energies = [square / n**p for p in (0, 1, 2)]
    return np.stack([*energies, n * errors.force_mse.to_numpy(), n])


def weighted_score(terms: Array, weights: Array) -> Array:
    """Return scores (B,) of terms (n_seeds, 5, K), weighted (B, n_seeds, K), seeds pooled."""
    sums = np.einsum("bsk,stk->tb", weights, terms, optimize=True)
    return score_of_means(sums / weights.sum(axis=(1, 2)))


def score_of_means(means: Array) -> Array:
    """Return scores (…) of weighted means of what `score_terms` returns, (5, …)."""
    energy = 0.5 * np.log(means[:3]).mean(axis=0)
    return np.asarray((energy + 0.5 * np.log(means[3] / means[4])) / 2, dtype=np.float64)


def best_weight(scores: Mapping[float, Sequence[float]]) -> float:
    """Return the force weight with the lowest mean validation score of its seeds.

    The smaller weight of two that score alike.
    """
    mean = {weight: float(np.mean(values)) for weight, values in scores.items()}
    return min(mean, key=lambda weight: (mean[weight], weight))


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of runs that differ in model, energy loss, force weight and seed alone.

    Control losses, which are no losses to train with, are left out.
    """
    usual = (table.variant == BASE) & (table.metric == "mse") & (table.force_loss == "raw")
    return table[usual & ~table.energy_loss.map(is_control).astype(bool)]


def at_best_weight(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the comparable rows of each loss at its best force weight.

    Parameters
    ----------
    table
        Rows of runs, with dataset, model, energy_loss and force_weight.
    runs
        One row a run, with ``validation_score``.
    """
    scores: dict[tuple[str, ...], dict[float, list[float]]] = {}
    for _, run in comparable(runs).iterrows():
        of_cell = scores.setdefault(tuple(run[name] for name in CELL), {})
        of_cell.setdefault(run.force_weight, []).append(run.validation_score)
    rows = [(*cell, best_weight(found)) for cell, found in scores.items()]
    best = pd.DataFrame(rows, columns=[*CELL, "force_weight"])
    return comparable(table).merge(best, on=[*CELL, "force_weight"])
