"""Does the correlation of local energy errors predict how energy errors grow? (C7)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.correlation import MODELS, PRODUCT_COLUMNS, PairMoments, parts
from pesloss.claims.measurement import Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import Comparison

TITLE = "exponent less that predicted,"
WORDS = {
    "model=shared": "part shared by all atoms",
    "model=short_range": "neighbours correlated",
    "model=independent": "independent atoms",
    "by=phase": "by phase",
}
EXPECTED = 0
MARGIN = 0.1
WHY = (
    "Measured less predicted exponent: 0 where the pairs that are kept explain the growth. 0.1 is "
    "a fifth of the distance between ½ and 1; over two decades of size it makes a factor 1.6."
)
SCOPE = "runs"
OPTIONS = {"model": MODELS[::-1], "by": ("", "phase")}
RUN_INPUTS = ("correlation.csv", "correlation.json")
SMALLEST_GROUP = 40


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the measured less the predicted exponent of ``⟨ΔE²⟩ ∝ N^(2α)`` on test structures.

    What is predicted, and from what, is said in ``pesloss.claims.correlation``. Both exponents
    are measured on the same structures of each resample. With ``by: phase`` within each phase
    that has several sizes and 40 test structures. Each loss stands at its own best weight.
    """
    chosen = choose(options, OPTIONS, "predicted_exponent")
    for loss in data.losses:
        weight = data.best_weight(loss)
        moments, table = moments_of(data, loss, weight), data.tested()
        for phase, mask in parts(table, chosen["by"], SMALLEST_GROUP).items():
            part = moments.within(mask)
            yield sampling.interval(
                part.difference(chosen["model"]),
                part.family,
                len(part.square),
                loss=loss,
                force_weight=weight,
                group=phase,
            )


def moments_of(data: Comparison, loss: str, weight: float) -> PairMoments:
    """Return the pair moments of a loss's runs on test structures."""
    square = data.values(loss, weight, lambda t: t.energy_error**2)
    tables = [result.table(RUN_INPUTS[0], PRODUCT_COLUMNS) for result in data.of(loss, weight)]
    return PairMoments.of_tables(data.tested(), square, tables)
