"""Do forces depend on the size of the structure they are in? (C10, labels)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures._slopes import slope_interval

TITLE = "exponent"
EXPECTED = 0
MARGIN = 0.1
WHY = (
    "Forces belong to atoms, so their exponent is 0. 0.1 is a fifth of the distance between ½ and "
    "1; over two decades of size it makes a factor 1.6."
)
SCOPE = "labels"


def measure(
    data: LabelData, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the exponent of the root mean square of F' in a structure against N; 0 is none."""
    choose(options, {}, "force_exponent")
    forces = data.held_out_forces
    forces = forces.assign(square_sum=forces.mean_square * forces.n_components)
    table = forces.groupby("structure").agg(
        group=("group", "first"),
        n_atoms=("n_atoms", "first"),
        square=("square_sum", "sum"),
        count=("n_components", "sum"),
    )
    values = (table.square / table["count"]).to_numpy()
    yield slope_interval(table, np.atleast_2d(values), sampling, half=True)
