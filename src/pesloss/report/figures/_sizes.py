"""Panels with one line a loss along the size groups."""

import pandas as pd
from matplotlib.axes import Axes

from pesloss.report import wording
from pesloss.report.drawing import colour, end_labels, losses_in, marker, plain_ticks, whiskered


def size_panel(axes: Axes, table: pd.DataFrame, labelled: bool) -> None:
    """Draw ``value`` with whiskers ``low`` to ``high`` against the size group, by loss, log scale.

    Lines are named at their right ends when ``labelled``.
    """
    groups = list(table.groupby("size_group").mean_n_atoms.mean().sort_values().index)
    losses, ends = losses_in(table), []
    for i, loss in enumerate(losses):
        part = table[table.energy_loss == loss]
        x = part.size_group.map(groups.index) + 0.06 * (i - (len(losses) - 1) / 2)
        part = part.assign(x=x).sort_values("x")
        whiskered(axes, part.x, part.value, part.low, part.high, color=colour(loss),
                  marker=marker(loss))  # fmt: skip
        ends.append((float(part.value.iloc[-1]), wording.loss(loss), colour(loss)))
    axes.set_yscale("log")
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.4, len(groups) - 0.6)
    plain_ticks(axes)
    if labelled:
        end_labels(axes, ends)
