"""Does a metric on standardised errors depend on composition? (C4, errors)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._groups import group_ratio
from pesloss.claims.measures._options import choose, metric
from pesloss.claims.runs import Comparison

TITLE = "log ratio of"
WORDS = {"metric=mse": "MSE", "metric=mae": "MAE"}
MINOR = ("metric=mae",)
EXPECTED = 0
MARGIN = {"metric=mae": 0.203, "": 0.405}
WHY = {
    "metric=mae": (
        "0: composition does not matter. 0.203 = ½ log 1.5: a mean absolute error goes as the "
        "root of a mean square."
    ),
    "": (
        "0: composition does not matter. 0.405 = log 1.5: two composition groups may differ by a "
        "factor 1.5 in mean square."
    ),
}
SCOPE = "runs"
OPTIONS = {"metric": ("mse", "mae")}


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the log ratio of metric(ΔE') between two composition groups for each loss.

    The groups are those that differ most on validation structures; the ratio is measured on test
    structures. Each loss stands at its own best weight.
    """
    chosen = choose(options, OPTIONS, "error_composition_ratio")
    validated = data.results[0].split("validation")
    for loss in data.losses:
        weight = data.best_weight(loss)
        values = {
            split: metric(
                chosen["metric"],
                data.values(loss, weight, lambda t: t.energy_error / t.energy_scale, split),
            )
            for split in ("validation", "test")
        }
        yield group_ratio(
            validated,
            values["validation"],
            data.tested(),
            values["test"],
            "composition_group",
            sampling,
            loss=loss,
            force_weight=weight,
        )
