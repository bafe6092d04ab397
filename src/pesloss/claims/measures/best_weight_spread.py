"""How far apart are the best energy to force weights of datasets? (C11)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures._transfers import measured
from pesloss.claims.runs import Study
from pesloss.claims.weights import DECADES_TO_BOHR, Transfer, at_edge

TITLE = "decades between best weights"
WORDS = {
    "units=one": "(eV and Å)",
    "units=several": "(any unit)",
    "against=nothing": "",
    "against=standardized": "beyond the standardized loss's",
}
EXPECTED = 0
MARGIN = {"against=standardized": 0.1, "": 0.5}
WHY = {
    "against=standardized": (
        "0 is a spread as large as the standardized loss's; a tenth of a decade is a factor 1.26."
    ),
    "": (
        "Best weights that transfer have no spread. Half a decade is half a step of the sweep, a "
        "factor of three: the nearest weight of the sweep is the same."
    ),
}
SCOPE = "ablation"
OPTIONS = {"units": ("one", "several"), "against": ("nothing", "standardized")}


def measure(
    data: Study, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield by loss the spread of log10 of the best user's weight over datasets, in decades.

    The standard deviation, not the range, which grows with the number of datasets. The best
    weight is the lowest point of a parabola through the validation scores along log w, between the
    ends of the sweep; how many datasets have it at an end is said, since there the spread is a
    lower bound. With ``units: several`` each dataset is once in Å and once in bohr; units of energy
    cancel (``pesloss.claims.weights``). With ``against: standardized`` the spread of the
    standardized loss is subtracted, resample by resample.
    """
    chosen = choose(options, OPTIONS, "best_weight_spread")
    several = chosen["units"] == "several"

    def of(transfer: Transfer, weights: Array) -> Array:
        users = transfer.users(transfer.best(weights))
        if several:
            moved = [DECADES_TO_BOHR if sweep.has_units else 0.0 for sweep in transfer.sweeps]
            users = np.concatenate([users, users + np.array(moved)[:, None]])
        return np.asarray(users.std(axis=0, ddof=1), dtype=np.float64)

    def said(transfer: Transfer, ones: Array) -> str:
        best = transfer.best(ones)[:, 0]
        pairs = zip(best, transfer.sweeps, strict=True)
        edges = sum(bool(at_edge(x, sweep.limits)) for x, sweep in pairs)
        return f"{len(best)} datasets, {edges} at an end of the sweep"

    yield from measured(data, of, said, chosen["against"], sampling)
