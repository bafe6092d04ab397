"""Weighted metrics and their ratios, written for rows of resampling weights."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pesloss.job.errors import wrong_value

Array = NDArray[np.float64]


def weighted_mean(
    values: ArrayLike, weights: ArrayLike, seed_weights: ArrayLike | None = None
) -> Array:
    """Weighted mean over structures, and over seeds where there are several.

    Parameters
    ----------
    values
        (K,) one value per structure, or (n_seeds, K).
    weights
        (B, K) weights of the structures.
    seed_weights
        (B, n_seeds) weights of the seeds; equal by default.

    Returns
    -------
    ndarray
        (B,) means ``Σ_sk u_s w_k x_sk / Σ_s u_s Σ_k w_k``; NaN where all weights are zero.

    Raises
    ------
    PeslossError
        When the shapes do not fit together.
    """
    x = np.atleast_2d(np.asarray(values, dtype=np.float64))
    w = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    u = np.ones((len(w), len(x))) if seed_weights is None else np.atleast_2d(seed_weights)
    if x.shape[1] != w.shape[1] or u.shape != (len(w), len(x)):
        shapes = f"{x.shape}, {w.shape}, {u.shape}"
        raise wrong_value("weighted_mean", "shapes", shapes, "(seeds, K), (B, K), (B, seeds)")
    total = w.sum(1) * u.sum(1)
    summed = np.einsum("bs,bs->b", u, w @ x.T)
    empty = np.full(len(w), np.nan)
    return np.asarray(np.divide(summed, total, out=empty, where=total > 0))


def group_means(
    values: ArrayLike,
    groups: ArrayLike,
    weights: ArrayLike,
    seed_weights: ArrayLike | None = None,
) -> Array:
    """Weighted means of each group of structures (size bin, composition bin).

    Parameters
    ----------
    values, weights, seed_weights
        As in `weighted_mean`.
    groups
        (K,) labels; the columns follow their sorted order.

    Returns
    -------
    ndarray
        (B, n_groups); NaN where a resample has no member of a group.
    """
    labels = np.asarray(groups)
    x, w = np.atleast_2d(np.asarray(values)), np.atleast_2d(np.asarray(weights))
    columns = [
        weighted_mean(x[:, labels == label], w[:, labels == label], seed_weights)
        for label in np.unique(labels)
    ]
    return np.stack(columns, axis=1)


def log_metric_ratio(
    errors: ArrayLike,
    baseline: ArrayLike,
    weights: ArrayLike,
    seed_weights: ArrayLike | None = None,
) -> Array:
    """Paired log ratio ``log (⟨error⟩ / ⟨baseline⟩)`` of two losses on the same structures.

    Structures and seeds are drawn together for both, so what they share cancels.

    Parameters
    ----------
    errors, baseline
        (K,) or (n_seeds, K) contributions to the metric (squared, absolute, Huber), not
        negative, of the two runs of each seed.
    weights, seed_weights
        As in `weighted_mean`.

    Returns
    -------
    ndarray
        (B,) log ratios; below zero where the first loss has the smaller error.

    Raises
    ------
    PeslossError
        When the shapes differ or a metric is zero throughout.
    """
    if np.shape(errors) != np.shape(baseline):
        shapes = f"{np.shape(errors)} and {np.shape(baseline)}"
        raise wrong_value("log_metric_ratio", "shapes", shapes, "equal shapes")
    above = weighted_mean(errors, weights, seed_weights)
    below = weighted_mean(baseline, weights, seed_weights)
    if not (np.nanmin(above) > 0 and np.nanmin(below) > 0):
        raise wrong_value("log_metric_ratio", "metric", 0.0, "metrics above zero")
    return np.asarray(np.log(above / below))


def mean_over_seeds(values: ArrayLike, weights: ArrayLike) -> Array:
    """Weighted mean over seeds of what each seed gives by itself, such as a log ratio of errors.

    Parameters
    ----------
    values
        (B, n_seeds), each from the weights of its seed.
    weights
        (B, n_seeds, K) weights of cells. A seed counts by the sum of its weights, so that leaving
        out a cell tells how much its seed matters.

    Returns
    -------
    ndarray
        (B,) means ``Σ_s W_s x_s / Σ_s W_s``, ``W_s = Σ_k w_sk``.
    """
    share = np.asarray(weights, dtype=np.float64).sum(axis=2)
    return np.asarray((share * np.asarray(values)).sum(axis=1) / share.sum(axis=1))


def seed_means(values: ArrayLike, weights: ArrayLike) -> Array:
    """Weighted mean over the structures of each seed: values (n_seeds, K) to (B, n_seeds).

    Parameters are those of `mean_over_seeds`, but for values (n_seeds, K).
    """
    x, w = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    return np.asarray(np.einsum("bsk,sk->bs", w, x) / w.sum(axis=2))
