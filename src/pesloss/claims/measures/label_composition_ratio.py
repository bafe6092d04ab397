"""Does a metric on E' depend on composition? (C4, labels)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._groups import group_ratio
from pesloss.claims.measures._options import choose, metric

TITLE = "log ratio of"
WORDS = {"metric=mse": "MSE", "metric=mae": "MAE", "metric=huber": "Huber"}
MINOR = ("metric=mae", "metric=huber")
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
SCOPE = "labels"
OPTIONS = {"metric": ("mse", "mae", "huber")}


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the log ratio of metric(E') between two composition groups; 0 is no dependence.

    The two groups are those with the largest and the smallest metric on the training split; the
    ratio is measured on held-out structures, so the choice does not inflate it.
    """
    chosen = choose(options, OPTIONS, "label_composition_ratio")
    train = data.labels[data.labels.split == "train"]
    values = {
        part: metric(chosen["metric"], table.standardized_energy.to_numpy())[None]
        for part, table in (("train", train), ("test", data.held_out))
    }
    yield group_ratio(
        train, values["train"], data.held_out, values["test"], "composition_group", sampling
    )
