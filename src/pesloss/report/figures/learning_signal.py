"""Share of each size group in the energy term and in its gradient, over its share of structures."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from pesloss.evaluation.score import CELL, comparable
from pesloss.report import wording
from pesloss.report.drawing import by_dataset, grid, guide, nothing
from pesloss.report.figures._runs import over_weights
from pesloss.report.figures._sizes import size_panel

SOURCES = ("signal.csv",)
TITLE = "From which sizes does a model learn? Share of the learning signal at the end of training"
CAPTION = (
    "Share of each size group in the energy loss and in its gradient, over its share of the "
    "structures. Flat at 1 is balance; a line that rises means that large structures decide "
    "what is learnt."
)
QUANTITIES = {"energy_term": "share of the loss", "energy_gradient": "share of gradient norm"}
COLUMNS = [*CELL, "size_group", "mean_n_atoms", "quantity", "value", "low", "high", "n_seeds"]


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return shares over expected at the last step measured, averaged over force weights."""
    signal = comparable(sources["signal.csv"])
    signal = signal[signal.quantity.isin(list(QUANTITIES)) & (signal.axis == "size_group")]
    signal = signal.rename(columns={"group": "size_group"})
    run = [*CELL, "force_weight", "seed", "quantity"]
    last = signal[signal.step == signal.groupby(run).step.transform("max")]
    keys = [*CELL, "quantity", "size_group"]
    found = over_weights(last, keys, "share_over_expected")
    sizes = last.groupby(["dataset", "size_group"]).mean_n_atoms.mean().reset_index()
    return found.merge(sizes, on=["dataset", "size_group"])[COLUMNS]


def draw(table: pd.DataFrame) -> Figure:
    """Draw one row a dataset and model: the loss left, the gradient right."""
    pairs = by_dataset(table)
    if not pairs:
        return nothing(TITLE, "no runs to compare")
    figure, axes = grid(len(pairs), 2, TITLE, (4.2, 2.1))
    for row, (dataset, model) in zip(axes, pairs, strict=True):
        part = table[(table.dataset == dataset) & (table.model == model)]
        for one, (quantity, words) in zip(row, QUANTITIES.items(), strict=True):
            chosen = part[part.quantity == quantity]
            if len(chosen):
                size_panel(one, chosen, labelled=True)
            guide(one, 1.0)
            one.set_ylabel(f"{words} ÷\nshare of structures")
        row[0].set_title(wording.dataset(dataset, model))
    figure.supxlabel(
        "atoms in the structure   (geometric mean over force weights and seeds; bars: all seeds)",
        fontsize=9,
    )
    return figure
