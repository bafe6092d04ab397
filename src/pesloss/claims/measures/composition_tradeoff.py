"""Does a loss serve some compositions at the expense of others? (C9)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._groups import SMALLEST_GROUP
from pesloss.claims.measures._options import choose
from pesloss.claims.measures.size_tradeoff import REFERENCE
from pesloss.claims.runs import Comparison, cell_mean, families
from pesloss.statistics.dataset import OTHER

TITLE = "one composition against another"
EXPECTED = 0
MARGIN = 0.095
WHY = (
    "0: no group of compositions is served at the expense of another. The groups are named such "
    "that a shift is above 0. 0.095 = log 1.1 is ten per cent."
)
SCOPE = "runs"


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield how much a loss shifts error between two composition groups against standardized.

    ``log(RMSE_a / RMSE_a^std) − log(RMSE_b / RMSE_b^std)`` on test structures, same seeds and
    force weight in both, averaged over the force weights. The groups a and b are those of the
    largest and the smallest ``log(RMSE / RMSE^std)`` on validation structures, so that a number
    above zero says that the shift is there again on structures it was not chosen by.
    """
    choose(options, {}, "composition_tradeoff")
    if REFERENCE not in data.losses:
        raise NotMeasurable(f"{data.dataset}: no run of loss {REFERENCE}")
    tables = {name: data.results[0].split(name) for name in ("validation", "test")}
    names = _large_groups(*tables.values())
    for loss in [name for name in data.losses if name != REFERENCE]:
        seen = _squares(data, loss, "validation")
        masks = {n: (tables["validation"].composition_group == n).to_numpy() for n in names}
        shift = {n: _log_ratio(seen, mask, None) for n, mask in masks.items()}
        above, below = max(names, key=lambda n: shift[n]), min(names, key=lambda n: shift[n])
        pairs = _squares(data, loss, "test")
        high, low = ((tables["test"].composition_group == n).to_numpy() for n in (above, below))

        def statistic(
            weights: Array, pairs: Any = pairs, high: Any = high, low: Any = low
        ) -> Array:
            return np.asarray(_log_ratio(pairs, high, weights) - _log_ratio(pairs, low, weights))

        yield sampling.interval(
            statistic,
            families(tables["test"]),
            len(pairs[0][0]),
            loss=loss,
            group=f"{above} against {below}",
        )


def _large_groups(*tables: pd.DataFrame) -> list[str]:
    counts = [table.composition_group.value_counts() for table in tables]
    large = [set(count[count >= SMALLEST_GROUP].index) for count in counts]
    names = sorted(set.intersection(*large) - {OTHER})
    if len(names) < 2:
        raise NotMeasurable(
            f"fewer than two values of composition_group with {SMALLEST_GROUP} structures"
        )
    return names


def _squares(data: Comparison, loss: str, split: str) -> list[tuple[Array, Array]]:
    """Return squared errors of the loss and of the reference at each force weight."""
    return [
        (
            data.values(loss, weight, lambda t: t.energy_error**2, split),
            data.values(REFERENCE, weight, lambda t: t.energy_error**2, split),
        )
        for weight in data.force_weights
    ]


def _log_ratio(pairs: list[tuple[Array, Array]], mask: Any, weights: Array | None) -> Any:
    """Return the mean over force weights of the log ratio of root mean squares in a group."""
    if weights is None:
        return np.mean([0.5 * np.log(a[:, mask].mean() / b[:, mask].mean()) for a, b in pairs])
    means = [[cell_mean(v[:, mask], weights[:, :, mask]) for v in pair] for pair in pairs]
    return np.mean([0.5 * np.log(one / other) for one, other in means], axis=0)
