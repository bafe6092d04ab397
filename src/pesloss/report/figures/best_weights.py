"""The best force weight of every loss on every dataset, as a user types it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.report import wording
from pesloss.report.drawing import LABELS_COLOUR, colour, guide, losses_in, marker, nothing, panels

SOURCES = ("weight_transfer.csv",)
TITLE = "Best force weight by dataset: a loss whose marks stand in line has one weight for all data"
CAPTION = (
    "The force weight a user would type, where each dataset is served best, by loss; a column of "
    "points at one height says that the weight transfers."
)
KEYS = ["model", "force_loss"]


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return best user's weights with their spread in decades, of the model with most datasets."""
    weights = sources["weight_transfer.csv"]
    if weights.empty:
        return weights.assign(spread_decades=[])
    most = weights.groupby(KEYS).dataset.nunique().idxmax()
    shown = weights[(weights[KEYS] == most).all(axis=1)]
    decades = np.log10(shown.user_weight).groupby(shown.energy_loss).std()
    return shown.assign(spread_decades=shown.energy_loss.map(decades))


def draw(table: pd.DataFrame) -> Figure:
    """Draw one panel a loss, all of them the same number of decades wide."""
    if table.empty:
        return nothing(TITLE, "no sweeps of the force weight on several datasets")
    losses, datasets = losses_in(table), wording.datasets(table.dataset)[::-1]
    place = {name: i for i, name in enumerate(datasets)}
    size = (2.5, 0.9 + 0.24 * len(datasets))
    figure, axes = panels(len(losses), TITLE, columns=4, size=size, sharey=True)
    wide = table.groupby("energy_loss").user_weight.agg(lambda w: np.log10(w.max() / w.min()))
    for one, loss in zip(axes, losses, strict=True):
        part = table[table.energy_loss == loss]
        _panel(one, part, part.dataset.map(place), float(wide.max()) + 0.6)
        one.set_yticks(range(len(datasets)), [wording.dataset(name) for name in datasets])
        one.set_ylim(-0.6, len(datasets) - 0.4)
    figure.supxlabel(
        "force weight a user types (eV and Å; standardized: no unit)\n"
        "dashed: geometric mean; open marks: at an end of the sweep, the best may lie beyond",
        fontsize=8.5,
    )
    return figure


def _panel(axes: Axes, part: pd.DataFrame, height: pd.Series, decades: float) -> None:
    loss, shade = str(part.energy_loss.iloc[0]), colour(str(part.energy_loss.iloc[0]))
    log = np.log10(part.user_weight)
    middle, mean = (log.max() + log.min()) / 2, 10 ** log.mean()
    axes.set_xscale("log")
    axes.set_xlim(10 ** (middle - decades / 2), 10 ** (middle + decades / 2))
    guide(axes, mean, horizontal=False)
    axes.hlines(height, np.minimum(part.user_weight, mean), np.maximum(part.user_weight, mean),
                color=shade, lw=1.0, alpha=0.5)  # fmt: skip
    for edge, filled in ((False, shade), (True, "white")):
        chosen = part.at_edge.astype(bool) == edge
        axes.scatter(part.user_weight[chosen], height[chosen], 30, marker=marker(loss), zorder=3,
                     edgecolors=shade, facecolors=filled)  # fmt: skip
    axes.set_title(wording.loss(loss), color=shade, pad=16)
    axes.text(0, 1.02, f"spread {part.spread_decades.iloc[0]:.2f} decades",
              transform=axes.transAxes, color=LABELS_COLOUR, fontsize=8)  # fmt: skip
