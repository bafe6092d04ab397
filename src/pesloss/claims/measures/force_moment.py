"""Is F' unit normal for each species? (C10, labels)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pesloss.claims.measurement import Array, LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import cell_mean, families

TITLE = ""
WORDS = {"moment=variance": "variance", "moment=tail": "tail"}
MINOR = ("moment=tail",)
GROUPS = "species"
EXPECTED = {"moment=tail": 0.01, "": 1}
MARGIN = {"moment=tail": 0.01, "": 0.2}
WHY = {
    "moment=tail": (
        "One in a hundred of a normal variable lies beyond ±2.576; up to two are let pass."
    ),
    "": "A unit normal variable has variance 1; 0.2 is ten per cent of a standard deviation.",
}
SCOPE = "labels"
OPTIONS = {"moment": ("variance", "tail")}
SMALLEST_GROUP = 20


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the mean square of F' of each species, or its share of components beyond ±2.576.

    Species in fewer than 20 held-out structures are passed over.
    """
    chosen = choose(options, OPTIONS, "force_moment")
    column = {"variance": "square_sum", "tail": "n_tail"}[chosen["moment"]]
    forces = data.held_out_forces
    forces = forces.assign(square_sum=forces.mean_square * forces.n_components)
    for name, table in forces.groupby("species"):
        if len(table) < SMALLEST_GROUP:
            continue
        total, count = table[column].to_numpy(float), table.n_components.to_numpy(float)

        def statistic(weights: Array, total: Array = total, count: Array = count) -> Array:
            return cell_mean(total[None], weights) / cell_mean(count[None], weights)

        yield sampling.interval(statistic, families(table), group=str(name))
