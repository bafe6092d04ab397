"""Energy error by size group and loss: over that of the standardized loss, and in plain units."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pesloss.evaluation.score import CELL, comparable
from pesloss.report import wording
from pesloss.report.drawing import by_dataset, grid, guide, nothing
from pesloss.report.figures._runs import over_weights
from pesloss.report.figures._sizes import size_panel

SOURCES = ("group_errors.csv",)
TITLE = "Energy errors by size of the structure: which sizes does each loss serve?"
CAPTION = (
    "Energy errors by size group. Left over those of the standardized loss: a line below 1 is "
    "better there, and a line that tilts serves some sizes at the expense of others. "
    "Right in meV/atom."
)
RATIO, PLAIN = "ratio to standardized", "meV/atom"
RMSE = "energy_rmse_mev_per_atom"
REFERENCE = "standardized"
COLUMNS = [*CELL, "size_group", "mean_n_atoms", "quantity", "value", "low", "high", "n_seeds"]


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return errors by size group, averaged geometrically over force weights.

    The ratio is taken run by run, at the same seed and force weight. ``low`` and ``high`` are the
    extreme seeds.
    """
    groups = sources["group_errors.csv"]
    groups = comparable(groups[groups.axis == "size_group"]).rename(columns={"group": "size_group"})
    pair = ["dataset", "model", "force_weight", "seed", "size_group"]
    reference = groups.loc[groups.energy_loss == REFERENCE, [*pair, RMSE]]
    paired = groups.merge(reference.rename(columns={RMSE: "reference"}), on=pair)
    paired["ratio"] = paired[RMSE] / paired.reference.replace(0, np.nan)
    keys = [*CELL, "size_group", "mean_n_atoms"]
    ratio = over_weights(paired, keys, "ratio").assign(quantity=RATIO)
    plain = over_weights(groups, keys, RMSE).assign(quantity=PLAIN)
    return pd.concat([ratio, plain])[COLUMNS]


def draw(table: pd.DataFrame) -> Figure:
    """Draw one row a dataset and model: ratios left, plain units right."""
    pairs = by_dataset(table)
    if not pairs:
        return nothing(TITLE, "no runs to compare")
    figure, axes = grid(len(pairs), 2, TITLE, (4.2, 2.1))
    for row, (dataset, model) in zip(axes, pairs, strict=True):
        part = table[(table.dataset == dataset) & (table.model == model)]
        for one, quantity in zip(row, (RATIO, PLAIN), strict=True):
            chosen = part[part.quantity == quantity]
            if len(chosen):
                size_panel(one, chosen, labelled=True)
        guide(row[0], 1.0)
        row[0].set_ylabel("rms energy error over that\nof the standardized loss")
        row[1].set_ylabel("rms energy error\n(meV/atom)")
        row[0].set_title(wording.dataset(dataset, model))
    figure.supxlabel(
        "atoms in the structure   (geometric mean over force weights and seeds; bars: all seeds)",
        fontsize=9,
    )
    return figure
