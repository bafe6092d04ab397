"""The exponent of 1/N^p that needs least data: known for drawn energies, found for others."""

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.report import wording
from pesloss.report.drawing import GUIDE, end_labels, grid, guide, nothing, plain_ticks

SOURCES = ("best_exponent.csv", "efficiency.csv")
TITLE = "Which weights 1/Nᵖ need least data? Models fitted exactly"
CAPTION = (
    "Left: how much more data other weights need, where the covariance of energies is known. "
    "Right: the best exponent p of real data against twice the exponent of the errors; on the "
    "diagonal p* = 2α holds."
)
COLUMNS = [
    "part", "dataset", "exponent", "data_needed", "data_needed_simulated", "best_exponent",
    "best_low", "best_high", "twice_alpha", "twice_alpha_low", "twice_alpha_high",
]  # fmt: skip
DRAWN, FOUND = "covariance known", "found"
SHADES = ("#0072B2", "#009E73", "#E69F00", "#D55E00")
MORE_SHADES = (*SHADES, "#CC79A7", "#56B4E9", "#111111", "#999933")
MOST = 10.0
RANGE = (0.0, 3.0)


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return data needed by exponent, and best exponents of datasets with intervals.

    Data needed is that of the best power, times how much more the exponent needs.
    """
    known, best = sources["efficiency.csv"], sources["best_exponent.csv"]
    curves = known[known.exponent.between(*RANGE)].assign(part=DRAWN)
    least = curves.groupby("dataset").data_multiplier.transform("min")
    curves = curves.assign(
        twice_alpha=2 * curves.variance_exponent,
        data_needed=curves.data_multiplier / least,
        data_needed_simulated=curves.simulated_multiplier / least,
    )
    best = best[best.best_p_variance.notna()]
    points = pd.DataFrame({"dataset": best.dataset, "part": FOUND})
    ends = (("best_exponent", ""), ("best_low", "_low"), ("best_high", "_high"))
    points = points.assign(**{column: best[f"best_p_variance{end}"] for column, end in ends})
    for end in ("", "_low", "_high"):
        points[f"twice_alpha{end}"] = 2 * best[f"alpha_residual{end}"]
    parts = [part.reindex(columns=COLUMNS) for part in (curves, points) if len(part)]
    return pd.concat(parts) if parts else pd.DataFrame(columns=COLUMNS)


def draw(table: pd.DataFrame) -> Figure:
    """Draw what a wrong exponent costs, and best exponents against those of the errors."""
    if table.empty:
        return nothing(TITLE, "no linear fits")
    figure, axes = grid(1, 2, TITLE, (4.8, 4.2))
    _curves(axes[0, 0], table[table.part == DRAWN])
    _points(axes[0, 1], table[table.part == FOUND])
    return figure


def _curves(axes: Axes, table: pd.DataFrame) -> None:
    """Draw one curve a drawn dataset, with 2α below it."""
    axes.set(
        xlim=RANGE, ylim=(0.9, MOST), yscale="log",
        xlabel="exponent p of the weights 1/Nᵖ   (▲: 2α of the energies)",
        ylabel="data needed ÷ data needed with the best p",
        title="drawn energies: exact (lines), simulated (○)",
    )  # fmt: skip
    plain_ticks(axes)
    guide(axes, 1.0)
    parts = [part.sort_values("exponent") for _, part in table.groupby("dataset")]
    parts.sort(key=lambda part: float(part.best_exponent.iloc[0]))
    for part, shade in zip(parts, SHADES, strict=False):
        axes.plot(part.exponent, part.data_needed, color=shade)
        axes.plot(part.exponent, part.data_needed_simulated, "o", color=shade, mfc="white", ms=4)
        axes.plot(part.twice_alpha.iloc[0], 0.925, "^", color=shade, ms=7, zorder=5)
    for place, (part, shade) in enumerate(zip(parts, SHADES, strict=False)):
        name = wording.dataset(str(part.dataset.iloc[0]))
        best = part.best_exponent.iloc[0]
        axes.text(0.98, 0.97 - 0.055 * place, f"{name}: best p {best:.2f}", color=shade, ha="right",
                  va="top", transform=axes.transAxes, fontsize=8, zorder=6,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip


def _points(axes: Axes, table: pd.DataFrame) -> None:
    """Draw one point a dataset with the intervals of both numbers, beside the diagonal."""
    found = table[~table.dataset.str.startswith("labels")].sort_values("best_exponent")
    values = found[["best_exponent", "twice_alpha"]].to_numpy(float)
    low, high = min([-0.2, *values.ravel() - 0.3]), max([3.0, *values.ravel() + 0.3])
    axes.plot([low, high], [low, high], color=GUIDE, ls="--", lw=0.9, zorder=0)
    axes.set(
        xlim=(low, high), ylim=(low, high), xlabel="2α of the fit's errors",
        ylabel="best exponent p", title="other data: best p against 2α, 95 % intervals",
    )  # fmt: skip
    axes.text(low, low, "   p = 2α", ha="left", va="bottom", color=GUIDE, fontsize=7.5)
    labels = []
    shades = itertools.cycle(MORE_SHADES)
    for (_, row), shade in zip(found.iterrows(), shades, strict=False):
        x, y = float(row.twice_alpha), float(row.best_exponent)
        style: Any = {"color": shade, "lw": 1.0, "alpha": 0.6}
        axes.plot([row.twice_alpha_low, row.twice_alpha_high], [y, y], **style)
        axes.plot([x, x], [row.best_low, row.best_high], **style)
        axes.plot(x, y, "o", color=shade)
        labels.append((y, wording.dataset(row.dataset), shade))
    end_labels(axes, labels, gap=0.06)
