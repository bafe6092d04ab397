"""What it costs to use the force weight that is best for one dataset on another."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.report import wording
from pesloss.report.drawing import LABELS_COLOUR, colour, losses_in, nothing, panels

SOURCES = ("regret.csv",)
TITLE = (
    "Growth of errors (energy and force rmse, mean) with another dataset's best weight, per cent"
)
CAPTION = (
    "What it costs to use one dataset's best force weight on another, by loss; a row of zeros says "
    "that its weight serves everywhere."
)
KEYS = ["model", "force_loss"]
ALL = "all"
MOST = 30.0  # per cent, where the shade is darkest


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return regrets and excesses in per cent, of the model with most datasets."""
    regrets = sources["regret.csv"]
    if not regrets.empty:
        most = regrets.groupby(KEYS).used_on.nunique().idxmax()
        regrets = regrets[(regrets[KEYS] == most).all(axis=1)]
    return regrets.assign(
        regret_percent=100 * np.expm1(regrets.regret.astype(float)),
        excess_percent=100 * np.expm1(regrets.excess.astype(float)),
    )


def draw(table: pd.DataFrame) -> Figure:
    """Draw one matrix a loss: rows where a weight is used, columns where it comes from."""
    if table.empty:
        return nothing(TITLE, "no sweeps of the force weight on several datasets")
    losses, datasets = losses_in(table), wording.datasets(table.used_on)
    width = 1.9 + 0.36 * len(datasets)
    figure, axes = panels(len(losses), TITLE, 2, (width, 0.72 * width), sharey=True)
    for one, name in zip(axes, losses, strict=True):
        _matrix(one, table[table.energy_loss == name], datasets)
        one.set_title(wording.loss(name), color=colour(name))
    figure.supxlabel(
        "columns: the dataset whose best weight is taken, or one weight for all; rows: where it is "
        "used\n* the weight is at an end of the sweep there, or beyond: at least so much",
        fontsize=8.5,
    )
    return figure


def _matrix(axes: Axes, part: pd.DataFrame, datasets: list[str]) -> None:
    columns = [*datasets, ALL]
    cells = part.set_index(["used_on", "taken_from"])
    values = cells.regret_percent.unstack().loc[datasets, columns].to_numpy(float)
    edges = cells.at_edge.unstack().loc[datasets, columns].to_numpy(bool)
    axes.imshow(np.clip(values, 0, MOST), cmap="Oranges", vmin=0, vmax=1.4 * MOST, aspect="auto")
    for (row, column), shown in np.ndenumerate(values):
        own = column < len(datasets) and row == column
        text = "" if own else f"{shown:.0f}".replace("-0", "0").replace("-", "−")
        text += "*" if edges[row, column] and not own else ""
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5)
    labels = [wording.dataset(name) for name in datasets]
    axes.set_xticks(range(len(columns)), [*labels, "one for all"], rotation=40, ha="right")
    axes.set_yticks(range(len(datasets)), labels)
    axes.axvline(len(datasets) - 0.5, color=LABELS_COLOUR, lw=0.8)
    axes.tick_params(length=0, labelsize=7.5)
