"""Bootstrap by resampling weights, over structures and seeds together (science.md §5).

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
    return _multinomial(labels.size, n_resamples, rng)[:, place.ravel()]


def _multinomial(n: int, n_resamples: int, rng: np.random.Generator) -> Array:
    return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)


def two_level_weights(
    groups: ArrayLike, n_seeds: int, n_resamples: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Weights of a crosswise bootstrap: families and seeds are both drawn with replacement.

    Runs of all seeds share their test structures, so structures are crossed with seeds, not
    nested in them (pigeonhole bootstrap, Owen, Ann. Appl. Stat. 1, 386, 2007). With one seed
    its weight is always one: the interval then covers new structures for *this* trained model
    and says nothing about another training. With few seeds the spread over seeds comes out
    too small by ``(n−1)/n`` and its quantile is far from normal: `two_level_interval` mends
    both.

    Parameters
    ----------
    groups
        (K,) family of each structure.
    n_seeds
        Number of seeds, at least one.
    n_resamples, rng
        As in `resample_weights`.

    Returns
    -------
    tuple of ndarray
        (B, K) weights of structures and (B, n_seeds) weights of seeds.
    """
    if n_seeds < 1:
        raise wrong_value("two_level_weights", "n_seeds", n_seeds, "at least 1")
    structures = resample_weights(groups, n_resamples, rng)
    return structures, _multinomial(n_seeds, n_resamples, rng)
