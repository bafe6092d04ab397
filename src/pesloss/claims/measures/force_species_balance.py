"""Does the standardised force loss serve the species more evenly? (C10, errors)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import Comparison, cell_mean
from pesloss.evaluation.results import RunResult

TITLE = "spread over species"
EXPECTED = 0
MARGIN = 0.1
WHY = (
    "A spread over species of log(RMSE_z / η_z): 0 is perfect balance, 0.1 about ten per cent of "
    "error."
)
SCOPE = "runs"
RUN_INPUTS = ("atoms.csv.gz",)
SMALLEST_GROUP = 20


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the spread over species of ``log(RMSE_z / η_z)``, for each loss at its best weight.

    The standard deviation over the species that are in at least 20 test structures; 0 is perfect
    balance. The force loss is that of the comparison.
    """
    choose(options, {}, "force_species_balance")
    for loss in data.losses:
        weight = data.best_weight(loss)
        runs = data.of(loss, weight)
        sums, counts, names, groups = _by_structure(runs, data)
        scale = dict(zip(data.statistics.species, data.statistics.force_scale, strict=True))

        squares = sums / np.array([scale[name] for name in names]) ** 2
        numbers = np.broadcast_to(counts, sums.shape)

        def statistic(weights: Array, above: Array = squares, below: Array = numbers) -> Array:
            ratios = [
                cell_mean(above[:, :, z], weights) / cell_mean(below[:, :, z], weights)
                for z in range(above.shape[2])
            ]
            return np.asarray(np.std(0.5 * np.log(ratios), axis=0))

        yield sampling.interval(
            statistic, groups, len(runs), loss=f"{loss}+{data.force_loss}", force_weight=weight
        )


def _by_structure(
    runs: list[RunResult], data: Comparison
) -> tuple[Array, Array, list[str], np.ndarray[Any, Any]]:
    """Return sums of squared errors (n_seeds, K, Z), counts (K, Z), species and families (K,)."""
    tables = [
        result.atoms.pivot_table(
            index="structure",
            columns="species",
            values="force_error_square",
            aggfunc=["sum", "count"],
        ).fillna(0.0)
        for result in runs
    ]
    counts = tables[0]["count"]
    names = [str(name) for name in counts if (counts[name] > 0).sum() >= SMALLEST_GROUP]
    if len(names) < 2:
        raise NotMeasurable(f"fewer than two species in {SMALLEST_GROUP} test structures")
    sums = np.stack([table["sum"][names].to_numpy() for table in tables])
    family = data.tested().set_index("structure")["group"]
    groups = pd.Series(tables[0].index).map(family).to_numpy(dtype=str)
    return sums, counts[names].to_numpy(float), names, groups
