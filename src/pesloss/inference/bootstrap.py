"""Bootstrap by resampling weights (science.md §5).

A resample is a row of integer weights, so any weighted statistic is computed for all resamples
at once. Structures of one family (same trajectory, same parent cell) are drawn together.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pesloss.job.errors import wrong_value

Array = NDArray[np.float64]


def resample_weights(groups: ArrayLike, n_resamples: int, rng: np.random.Generator) -> Array:
    """Weights of a cluster bootstrap.

    Parameters
    ----------
    groups
        (K,) family of each structure; members of a family are drawn together.
    n_resamples
        Number of resamples B.
    rng
        Source of randomness.

    Returns
    -------
    ndarray
        (B, K) counts; each row draws as many families as there are, with replacement.

    Raises
    ------
    PeslossError
        When there is no structure or no resample.
    """
    labels, place = np.unique(np.asarray(groups), return_inverse=True)
    if labels.size == 0 or n_resamples < 1:
        wrong = (labels.size, n_resamples)
        raise wrong_value("resample_weights", "(families, resamples)", wrong, "at least 1 each")
    n = labels.size
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
    return np.asarray(drawn[:, place.ravel()])
