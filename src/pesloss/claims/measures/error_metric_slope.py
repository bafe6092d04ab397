"""Does a metric on standardised errors depend on size? (C3, errors)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pesloss.claims.measurement import Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose, metric
from pesloss.claims.measures._slopes import slope_interval
from pesloss.claims.runs import Comparison

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
SCOPE = "runs"
OPTIONS = {"metric": ("mse", "mae", "huber")}


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the slope of log metric(ΔE') on log N, ``ΔE' = ΔE / (r sqrt(Σσ_z²))``.

    The constant r makes the root mean square 1, which puts Huber's δ at one standard deviation of
    the errors. Each loss stands at its own best weight.
    """
    chosen = choose(options, OPTIONS, "error_metric_slope")
    for loss in data.losses:
        weight = data.best_weight(loss)
        errors = data.values(loss, weight, lambda t: t.energy_error / t.energy_scale)
        errors = errors / np.sqrt(np.mean(errors**2))
        yield slope_interval(
            data.tested(),
            metric(chosen["metric"], errors),
            sampling,
            loss=loss,
            force_weight=weight,
        )
