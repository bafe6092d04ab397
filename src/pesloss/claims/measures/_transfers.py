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
        reference = by_loss[REFERENCE] if against == REFERENCE else None
        names = [sweep.dataset for sweep in next(iter(by_loss.values())).sweeps]
        owners = joined_families(data, names)
        for loss in [name for name in by_loss if name != against]:
            transfer = by_loss[loss]
            n_seeds = transfer.sweeps[0].terms.shape[1]
            yield sampling.interval(
                _above(of, transfer, reference),
                owners,
                n_seeds,
                loss=loss,
                group=said(transfer, np.ones((1, n_seeds, len(owners)))),
                model=example.model,
            )


def _above(
    of: Callable[[Transfer, Array], Array], transfer: Transfer, reference: Transfer | None
) -> Callable[[Array], Array]:
    """Return the statistic: the quantity, or how far it is above that of the reference."""
    if reference is None:
        return lambda weights: of(transfer, weights)
    return lambda weights: of(transfer, weights) - of(reference, weights)
