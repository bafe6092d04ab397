"""What does it cost to take the force weight that is best for other data? (C11)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures._transfers import measured
from pesloss.claims.runs import Study
from pesloss.claims.weights import Transfer

TITLE = "regret of another's weight"
WORDS = {
    "of=mean": "(mean)",
    "of=worst": "(worst)",
    "against=nothing": "",
    "against=standardized": "beyond the standardized loss's",
}
EXPECTED = 0
MARGIN = {"against=standardized": 0.02, "": 0.095}
WHY = {
    "against=standardized": (
        "0 is a regret as large as the standardized loss's; 0.02, two per cent, counts between "
        "losses."
    ),
    "": (
        "Regrets are logarithms of errors: 0 costs nothing, 0.095 = log 1.1 is ten per cent above "
        "the errors at the best weight."
    ),
}
SCOPE = "ablation"
OPTIONS = {"of": ("mean", "worst"), "against": ("nothing", "standardized")}


def measure(
    data: Study, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield by loss the regret over ordered pairs of datasets, in the logarithm of an rmse.

    The score (``pesloss.claims.runs.score``) on the test structures of one dataset at the user's
    weight that is best for another, less that at its own best weight; weights are chosen on
    validation structures. The mean or the worst over pairs. A weight beyond the other's sweep
    counts as its end: how many do is said, since the regret is then a lower bound.
    With ``against: standardized`` that of the standardized loss is subtracted.
    """
    chosen = choose(options, OPTIONS, "weight_regret")

    def of(transfer: Transfer, weights: Array) -> Array:
        regrets, _ = transfer.regrets(weights)
        pairs = regrets[~np.eye(len(regrets), dtype=bool)]
        worst = chosen["of"] == "worst"
        return np.asarray(pairs.max(axis=0) if worst else pairs.mean(axis=0), dtype=np.float64)

    def said(transfer: Transfer, ones: Array) -> str:
        _, outside = transfer.regrets(ones)
        pairs = outside[..., 0][~np.eye(len(outside), dtype=bool)]
        return f"{len(pairs)} pairs, {int(pairs.sum())} at an end of the sweep"

    yield from measured(data, of, said, chosen["against"], sampling)
