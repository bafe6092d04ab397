"""Does a metric on E' depend on size? (C3, labels)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose, metric
from pesloss.claims.measures._slopes import label_slope

TITLE = "slope of"
WORDS = {"metric=mse": "MSE", "metric=mae": "MAE", "metric=huber": "Huber"}
MINOR = ("metric=mae", "metric=huber")
EXPECTED = 0
MARGIN = {"metric=mae": 0.1, "": 0.2}
WHY = {
    "metric=mae": (
        "0 is what the proposal expects. A mean absolute error grows with the exponent itself, so "
        "its margin is 0.1, a factor 1.6 over two decades of size."
    ),
    "metric=huber": (
        "0 is what the proposal expects. Huber's metric lies between a mean square and a mean "
        "absolute error and has the wider margin, 0.2."
    ),
    "": (
        "0 is what the proposal expects. A mean square grows with twice the exponent, so its "
        "margin is 0.2; 0.1 in the exponent is a factor 1.6 over two decades of size."
    ),
}
SCOPE = "labels"
OPTIONS = {"metric": ("mse", "mae", "huber")}


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the slope of log metric(E') on log N on held-out labels; 0 is no dependence."""
    chosen = choose(options, OPTIONS, "label_metric_slope")
    values = metric(chosen["metric"], data.held_out.standardized_energy.to_numpy())
    yield label_slope(data, values, sampling)
