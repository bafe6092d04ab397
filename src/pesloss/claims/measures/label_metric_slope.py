"""Does a metric on E' depend on size? (C3, labels)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose, metric
from pesloss.claims.measures._slopes import label_slope

TITLE = "slope of"
SCOPE = "labels"
OPTIONS = {"metric": ("mse", "mae", "huber")}


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the slope of log metric(E') on log N on held-out labels; 0 is no dependence."""
    chosen = choose(options, OPTIONS, "label_metric_slope")
    values = metric(chosen["metric"], data.held_out.standardized_energy.to_numpy())
    yield label_slope(data, values, sampling)
