"""Energy error against force error along the force weights, by loss; lower left is better."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.evaluation.score import CELL, comparable
from pesloss.report import wording
from pesloss.report.drawing import (
    by_dataset,
    colour,
    end_labels,
    grid,
    losses_in,
    marker,
    nothing,
    plain_ticks,
)

SOURCES = ("runs.csv",)
TITLE = "Energy against force errors of test structures, each line a loss; lower left is better"
CAPTION = (
    "Energy against force errors along the force weights, a line a loss; lower left is better. "
    "Where lines cross or lie on each other, the force weight matters more than the loss. "
    "Bars reach over all seeds."
)
ENERGIES = {
    "energy_rmse_mev_per_atom": "energy rmse (meV/atom)",
    "energy_rmse_mev_per_root_atom": "energy rmse (meV/√atom)",
}
FORCES = "force_rmse_mev_per_angstrom"


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the mean and the extreme seeds of each error, by loss and force weight."""
    runs = comparable(sources["runs.csv"])
    keys = [*CELL, "force_weight"]
    found = runs.groupby(keys)[[FORCES, *ENERGIES]].agg(["mean", "min", "max"])
    found.columns = pd.Index(["_".join(pair) for pair in found.columns.to_flat_index()])
    return found.assign(n_seeds=runs.groupby(keys).seed.nunique()).reset_index()


def draw(table: pd.DataFrame) -> Figure:
    """Draw one row a dataset and model: per atom left, per root atom right."""
    pairs = by_dataset(table)
    if not pairs:
        return nothing(TITLE, "no runs to compare")
    sizes = {w: 18 + 30 * i for i, w in enumerate(sorted(table.force_weight.unique()))}
    figure, axes = grid(len(pairs), 2, TITLE, (4.2, 2.6))
    for row, (dataset, model) in zip(axes, pairs, strict=True):
        part = table[(table.dataset == dataset) & (table.model == model)]
        for one, (energy, words) in zip(row, ENERGIES.items(), strict=True):
            _panel(one, part, energy, sizes)
            one.set_ylabel(words)
        row[0].set_title(wording.dataset(dataset, model))
    weights = ", ".join(f"{weight:g}" for weight in sizes)
    figure.supxlabel(
        f"force rmse (meV/Å)   larger marks: larger force weight ({weights}); bars: all seeds",
        fontsize=9,
    )
    return figure


def _panel(axes: Axes, table: pd.DataFrame, energy: str, sizes: dict[float, int]) -> None:
    ends = []
    for loss in losses_in(table):
        part = table[table.energy_loss == loss].sort_values("force_weight")
        x, y, shade = part[f"{FORCES}_mean"], part[f"{energy}_mean"], colour(loss)
        axes.plot(x, y, color=shade, lw=1.3)
        axes.scatter(x, y, part.force_weight.map(sizes), color=shade, marker=marker(loss), zorder=3)
        axes.vlines(x, part[f"{energy}_min"], part[f"{energy}_max"], color=shade, lw=0.9)
        axes.hlines(y, part[f"{FORCES}_min"], part[f"{FORCES}_max"], color=shade, lw=0.9)
        ends.append((float(y.iloc[x.argmax()]), wording.loss(loss), shade))
    axes.set(xscale="log", yscale="log")
    plain_ticks(axes, "xy")
    end_labels(axes, ends)
