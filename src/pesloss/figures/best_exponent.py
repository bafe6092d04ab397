"""The exponent of 1/N^p that needs least data: known for drawn energies, found for real ones."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss import wording
from pesloss.drawing import GUIDE, by_dataset, grid, guide, nothing, plain_ticks

SOURCES = ("best_exponent.csv", "efficiency.csv")
TITLE = "The best weights 1/N^p of a model fitted exactly"
COLUMNS = [
    "part", "dataset", "exponent", "data_multiplier", "simulated_multiplier", "best_exponent",
    "best_low", "best_high", "twice_alpha", "twice_alpha_low", "twice_alpha_high",
]  # fmt: skip
DRAWN, FOUND = "covariance known", "found"
SHADES = ("#0072B2", "#009E73", "#E69F00", "#D55E00")
MOST = 10.0
RANGE = (0.0, 3.0)


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return data multipliers by exponent, and best exponents of datasets with intervals."""
    known, best = sources["efficiency.csv"], sources["best_exponent.csv"]
    curves = known[known.exponent.between(*RANGE)].assign(part=DRAWN)
    curves = curves.assign(twice_alpha=2 * curves.variance_exponent)
    points = pd.DataFrame({"dataset": best.dataset, "part": FOUND})
    ends = (("best_exponent", ""), ("best_low", "_low"), ("best_high", "_high"))
    points = points.assign(**{column: best[f"best_p_variance{end}"] for column, end in ends})
    for end in ("", "_low", "_high"):
        points[f"twice_alpha{end}"] = 2 * best[f"alpha_residual{end}"]
    return pd.concat([curves.reindex(columns=COLUMNS), points.reindex(columns=COLUMNS)])


def draw(table: pd.DataFrame) -> Figure:
    """Draw what a wrong exponent costs, and best exponents against those of the errors."""
    if table.empty:
        return nothing(TITLE, "no linear fits")
    figure, axes = grid(1, 2, TITLE, (4.4, 3.9))
    _curves(axes[0, 0], table[table.part == DRAWN])
    _points(axes[0, 1], table[table.part == FOUND])
    return figure


def _curves(axes: Axes, table: pd.DataFrame) -> None:
    """Draw one curve a drawn dataset, with its best exponent and what draws gave."""
    axes.set(
        xlim=RANGE, ylim=(0.95, MOST), yscale="log", xlabel="exponent p of the weights 1/N^p",
        ylabel="data needed ÷ data needed by the best fit",
        title="drawn energies: exact, and ○ by simulation",
    )  # fmt: skip
    plain_ticks(axes)
    guide(axes, 1.0)
    datasets = [name for name, _ in by_dataset(table.assign(model=""))]
    parts = {name: table[table.dataset == name].sort_values("exponent") for name in datasets}
    for name, shade in zip(sorted(datasets, key=lambda n: _best(parts[n])), SHADES, strict=False):
        part = parts[name]
        axes.plot(part.exponent, part.data_multiplier, color=shade)
        axes.plot(part.exponent, part.simulated_multiplier, "o", color=shade, mfc="white", ms=4)
        axes.plot(part.twice_alpha.iloc[0], 0.965, "^", color=shade, ms=7, clip_on=False, zorder=5)
        x, y = _label_place(part)
        axes.annotate(wording.dataset(name), (x, y), (4, 0), textcoords="offset points", fontsize=7.5,
                      color=shade, va="center", rotation=0)  # fmt: skip
    axes.text(0.98, 0.03, "▲ p = 2α of the energies", transform=axes.transAxes, ha="right",
              fontsize=7.5, color=GUIDE)  # fmt: skip


def _best(part: pd.DataFrame) -> float:
    return float(part.best_exponent.iloc[0])


def _label_place(part: pd.DataFrame) -> tuple[float, float]:
    return float(part.exponent.iloc[-1]), float(min(part.data_multiplier.iloc[-1], MOST))


def _points(axes: Axes, table: pd.DataFrame) -> None:
    """Draw one point a dataset with the intervals of both numbers, beside the diagonal."""
    values = table[["best_exponent", "twice_alpha"]].to_numpy(float)
    low, high = min(-0.5, np.nanmin(values) - 0.3), max(2.8, np.nanmax(values) + 0.3)
    axes.plot([low, high], [low, high], color=GUIDE, ls="--", lw=0.9, zorder=0)
    axes.set(
        xlim=(low, high), ylim=(low, high), xlabel="2α of the fit's errors, 95 % interval",
        ylabel="best exponent p, 95 % interval", title="best p where it is to be found",
    )  # fmt: skip
    for name, _ in by_dataset(table.assign(model="")):
        row = table[table.dataset == name].iloc[0]
        shade = "#777777" if name.startswith("labels") else "#0072B2"
        axes.plot(
            [row.twice_alpha_low, row.twice_alpha_high], [row.best_exponent] * 2, color=shade, lw=1
        )
        axes.plot([row.twice_alpha] * 2, [row.best_low, row.best_high], color=shade, lw=1)
        axes.plot(row.twice_alpha, row.best_exponent, "o", color=shade)
        axes.annotate(wording.dataset(name), (row.twice_alpha, row.best_exponent), (5, 4),
                      textcoords="offset points", fontsize=7, color=shade)  # fmt: skip
