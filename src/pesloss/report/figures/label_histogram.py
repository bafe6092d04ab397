"""Standardized energies E′ of held-out structures by size, against the standard normal."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.report.drawing import GUIDE, coloured_lines, each_dataset, shades

SOURCES = ("labels.csv.gz",)
TITLE = "Standardized energies of held-out structures by size; grey: standard normal"
CAPTION = (
    "Standardized energies of held-out structures, a line a size group. Where the proposal "
    "holds, every line follows the grey normal; lines that widen with size refute it."
)
EDGES = np.linspace(-4, 4, 21)
COLUMNS = ["dataset", "size_group", "mean_n_atoms", "n_structures", "std", "low", "high", "density"]


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the density of E′ in bins, by dataset and size group; beyond ±4 counts as ±4."""
    labels = sources["labels.csv.gz"]
    held_out = labels[labels.split.isin(("validation", "test"))]
    width = EDGES[1] - EDGES[0]
    rows = []
    for (dataset, group), part in held_out.groupby(["dataset", "size_group"]):
        inside = np.clip(part.standardized_energy, EDGES[0], EDGES[-1])
        density = np.histogram(inside, EDGES)[0] / len(part) / width
        std = float(np.sqrt(np.mean(part.standardized_energy**2)))
        about = (dataset, group, part.n_atoms.mean(), len(part), std)
        rows += [(*about, *bar) for bar in zip(EDGES, EDGES[1:], density, strict=False)]
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(table: pd.DataFrame) -> Figure:
    """Draw one panel a dataset and one line a size group."""
    columns = 4 if table.dataset.nunique() > 6 else 3
    labels = ("E′ = (E − Σμ) / √Σσ²   (outermost bars hold all beyond)", "density")
    return each_dataset(table, TITLE, "no held-out structures", _panel, labels, models=False,
                        columns=columns, size=(2.7, 2.5))  # fmt: skip


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    x = np.linspace(-4, 4, 201)
    axes.fill_between(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color=GUIDE, alpha=0.35, lw=0)
    groups = table.groupby("size_group").mean_n_atoms.first().sort_values().index
    lines = []
    for group, shade in zip(groups, shades(len(groups)), strict=True):
        part = table[table.size_group == group]
        axes.stairs(part.density, [*part.low, part.high.iloc[-1]], color=shade, lw=1.4)
        lines.append((f"N = {group}: rms {part['std'].iloc[0]:.2f}", shade))
    axes.set_ylim(0, 1.6 * max(0.42, table.density.max()))
    coloured_lines(axes, lines)
