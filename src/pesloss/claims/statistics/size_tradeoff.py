"""Does a loss serve some sizes at the expense of others? (C8)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.runs import Comparison, cell_mean, families
from pesloss.claims.statistics._options import choose

SCOPE = "runs"
REFERENCE = "standardized"


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield how much a loss shifts error from large to small structures against standardized.

    ``log(RMSE_small / RMSE_small^std) − log(RMSE_large / RMSE_large^std)``, the smallest and the
    largest size group of the test structures, same seeds and force weight in both, averaged over
    the force weights. Positive: the loss favours large structures at the expense of small ones.
    What a loss gains or loses for all sizes alike cancels, and so does the standardisation.
    """
    choose(options, {}, "size_tradeoff")
    table = data.tested()
    if REFERENCE not in data.losses:
        raise NotMeasurable(f"{data.dataset}: no run of loss {REFERENCE}")
    order = table.groupby("size_group").n_atoms.mean().sort_values().index
    if len(order) < 2:
        raise NotMeasurable("all test structures are in one size group")
    small, large = ((table.size_group == order[end]).to_numpy() for end in (0, -1))
    square = {
        loss: [data.values(loss, w, lambda t: t.energy_error**2) for w in data.force_weights]
        for loss in data.losses
    }
    for loss in [name for name in data.losses if name != REFERENCE]:
        pairs = list(zip(square[loss], square[REFERENCE], strict=True))

        def statistic(weights: Array, pairs: list[Any] = pairs) -> Array:
            def log_ratio(mask: NDArray[np.bool_]) -> Array:
                means = [[cell_mean(v[:, mask], weights[:, :, mask]) for v in p] for p in pairs]
                logs = [0.5 * np.log(one / other) for one, other in means]
                return np.asarray(np.mean(logs, axis=0))

            return log_ratio(small) - log_ratio(large)

        yield sampling.interval(
            statistic,
            families(table),
            len(pairs[0][0]),
            loss=loss,
            group=f"{order[0]} against {order[-1]} atoms",
        )
