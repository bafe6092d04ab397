"""Means over structures and seeds, written for rows of resampling weights."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


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
