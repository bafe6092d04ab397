"""Statistics of best weights over several datasets, with intervals."""

from collections.abc import Callable, Iterator

import numpy as np

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.runs import Study
from pesloss.claims.weights import Transfer, joined_families, transfers

REFERENCE = "standardized"


def measured(
    data: Study,
    of: Callable[[Transfer, Array], Array],
    said: Callable[[Transfer, Array], str],
    against: str,
    sampling: Sampling,
) -> Iterator[Measurement | NotMeasurable]:
    """Yield a quantity of every loss, or how far it is above that of the standardized loss.

    Parameters
    ----------
    data
        Runs on several datasets.
    of
        The quantity of a transfer under weights (B, n_seeds, K) of all datasets' structures.
    said
        What to say about a transfer, from weights that are all 1.
    against
        ``nothing`` or ``standardized``.
    sampling
        How intervals are made: all datasets' families and seeds are drawn together.

    Raises
    ------
    NotMeasurable
        Where there is no standardized loss to compare with.
    """
    for example, by_loss in transfers(data.comparisons):
        if against == REFERENCE and REFERENCE not in by_loss:
            raise NotMeasurable(f"no run of loss {REFERENCE}")
        shown = [loss for loss in by_loss if loss != against]
        names = [sweep.dataset for sweep in next(iter(by_loss.values())).sweeps]
        owners = joined_families(data, names)
        for loss in shown:
            transfer = by_loss[loss]
            n_seeds = transfer.sweeps[0].terms.shape[1]

            def statistic(weights: Array, transfer: Transfer = transfer) -> Array:
                found = of(transfer, weights)
                return found - of(by_loss[REFERENCE], weights) if against == REFERENCE else found

            yield sampling.interval(
                statistic,
                owners,
                n_seeds,
                loss=loss,
                group=said(transfer, np.ones((1, n_seeds, len(owners)))),
                model=example.model,
            )
