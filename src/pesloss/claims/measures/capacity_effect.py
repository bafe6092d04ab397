"""Does a small model choose whom to serve more than a large one? (C8)."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures.size_tradeoff import REFERENCE, extreme_sizes, shift
from pesloss.claims.runs import Comparison, Study, families
from pesloss.job.errors import PeslossError

TITLE = "small model less large model"
EXPECTED = 0
MARGIN = 0.095
WHY = (
    "The smallest model's shift less the largest model's: 0 where size does not matter. A small "
    "model has to choose more, so the effect has the sign of the shift and its margin: 0.095 = "
    "log 1.1 is ten per cent."
)
SCOPE = "ablation"


def measure(
    data: Study, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the shift of error (``size_tradeoff``) of the smallest model less the largest model's.

    For each dataset and loss; size is the number of features. Seeds and test structures are the
    same in both and drawn together, so what they share cancels.
    """
    choose(options, {}, "capacity_effect")
    ordered = sorted(data.comparisons, key=lambda c: (c.dataset, c.model, n_features(c)))
    for (dataset, model), group in groupby(ordered, lambda c: (c.dataset, c.model)):
        sizes = list(group)
        small, large = sizes[0], sizes[-1]
        if n_features(small) == n_features(large):
            yield NotMeasurable(f"{dataset}: models of one size")
            continue
        _check_same(small, large)
        extreme_sizes(small)
        for loss in [name for name in small.losses if name != REFERENCE]:
            yield _difference(small, large, loss, sampling, dataset=dataset, model=model)


def n_features(data: Comparison) -> int:
    """Return the number of features of the models that are compared."""
    return int(data.results[0].record["model_settings"]["n_features"])


def _check_same(small: Comparison, large: Comparison) -> None:
    for name in ("data", "split", "batches", "device"):
        one, other = (c.results[0].record["hashes"][name] for c in (small, large))
        if one != other:
            raise PeslossError(
                f"{large.dataset}/{large.variant}: hash of {name} is {other!r}; allowed: {one!r}"
            )


def _difference(
    small: Comparison, large: Comparison, loss: str, sampling: Sampling, **about: Any
) -> Measurement | NotMeasurable:
    below, above = shift(small, loss), shift(large, loss)

    def statistic(weights: Array) -> Array:
        return np.asarray(below(weights) - above(weights))

    n_seeds = len(small.of(loss, small.force_weights[0]))
    group = f"{n_features(small)} against {n_features(large)} features"
    return sampling.interval(
        statistic, families(small.tested()), n_seeds, loss=loss, group=group, **about
    )
