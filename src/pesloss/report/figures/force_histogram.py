"""Standardized force components F′ by species, against the standard normal; log scale."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.report.drawing import GUIDE, coloured_lines, each_dataset

SOURCES = ("force_histogram.csv",)
TITLE = "Standardized force components by species; grey: standard normal"
CAPTION = (
    "Force components of held-out structures over the force scale of their species. "
    "A line outside the grey normal means heavier tails: a few atoms then carry most of the loss."
)
SHADES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#111111", "#E69F00", "#56B4E9", "#7F3C8D")
MERGED = 3
MOST_NAMED = 10  # species that a panel has room to name


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the density of F′ by dataset and species, three bins of the source in one."""
    counts = sources["force_histogram.csv"].copy()
    counts["bin"] = counts.groupby(["dataset", "species"]).cumcount() // MERGED
    merged = counts.groupby(["dataset", "species", "bin"]).agg(
        low=("low", "min"), high=("high", "max"), count=("count", "sum")
    )
    total = merged.groupby(["dataset", "species"])["count"].transform("sum")
    merged["density"] = merged["count"] / total.clip(lower=1) / (merged.high - merged.low)
    return merged.reset_index().drop(columns="bin").round({"low": 9, "high": 9})


def draw(table: pd.DataFrame) -> Figure:
    """Draw one panel a dataset and one line a species."""
    labels = ("F′ = F / η of the species   (outermost bars hold all beyond)", "density")
    return each_dataset(table, TITLE, "no dataset has forces", _panel, labels, models=False)


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    x = np.linspace(-6, 6, 241)
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    axes.fill_between(x, np.maximum(normal, 1e-6), 1e-6, color=GUIDE, alpha=0.35, lw=0)
    axes.set(yscale="log", ylim=(1e-4, 3), xlim=(-6, 6), xticks=[-6, -3, 0, 3, 6])
    species = sorted(table.species.unique())
    if len(species) > MOST_NAMED:
        _crowd(axes, table, len(species))
        return
    names = list(zip(species, SHADES * len(species), strict=False))
    for name, shade in names:
        _steps(axes, table[table.species == name], shade, 1.2)
    half = (len(names) + 1) // 2
    coloured_lines(axes, names[:half])
    coloured_lines(axes, names[half:], x=0.97)


def _crowd(axes: Axes, table: pd.DataFrame, n_species: int) -> None:
    """Draw many species without their names, and all of them together."""
    for _, part in table.groupby("species"):
        _steps(axes, part, SHADES[6], 0.4)
    total = table.groupby(["low", "high"]).agg(count=("count", "sum")).reset_index()
    total["density"] = total["count"] / total["count"].sum() / (total.high - total.low)
    _steps(axes, total, SHADES[0], 1.6)
    lines = [(f"{n_species} species", SHADES[6]), ("all together", SHADES[0])]
    coloured_lines(axes, lines)


def _steps(axes: Axes, part: pd.DataFrame, shade: str, width: float) -> None:
    density = part.density.where(part.density > 0)
    axes.stairs(density, [*part.low, part.high.iloc[-1]], color=shade, lw=width, baseline=None)
