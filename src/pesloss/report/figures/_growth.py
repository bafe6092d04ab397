"""Root mean squares in bins of size, and how they grow."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pesloss.report.drawing import GUIDE, plain_ticks, whiskered

Array = NDArray[np.float64]
N_BINS = 7
COLUMNS = ["n_atoms", "rms_ev", "low_ev", "high_ev", "n_structures", "fit_ev"]
Z = 1.959964


def binned(table: pd.DataFrame, column: str, exponent: float) -> pd.DataFrame:
    """Return the root mean square of ``column`` in bins of size.

    Bins hold about equally many structures. Intervals (95 %) treat members of one family as one
    observation. ``fit_ev`` is the power law with the given exponent and the level that gamma
    regression gives it.
    """
    bins = _bins(table.n_atoms.to_numpy(float))
    square = table[column] ** 2
    mean = np.mean(square / table.n_atoms ** (2 * exponent))
    level = np.sqrt(mean) if np.isfinite(exponent) else np.nan
    rows = []
    for _, part in table.assign(square=square).groupby(bins):
        n = float(np.exp(np.log(part.n_atoms).mean()))
        rms, half = _rms(part)
        low, high = rms * np.exp(-half), rms * np.exp(half)
        rows.append((n, rms, low, high, part.structure.nunique(), level * n**exponent))
    return pd.DataFrame(rows, columns=COLUMNS)


def _bins(n_atoms: Array) -> NDArray[np.int_]:
    edges = np.unique(np.quantile(n_atoms, np.arange(1, N_BINS) / N_BINS, method="higher"))
    return np.searchsorted(edges, n_atoms, side="right")


def _rms(part: pd.DataFrame) -> tuple[float, float]:
    """Return the root mean square and the half width of the interval of its logarithm."""
    mean = float(part.square.mean())
    families = part.groupby("group").square.agg(["sum", "count"])
    g = len(families)
    if g < 2 or mean <= 0:
        return float(np.sqrt(mean)), float("nan")
    residual = families["sum"] - mean * families["count"]
    error = np.sqrt(g / (g - 1) * np.sum(residual**2)) / len(part)
    return float(np.sqrt(mean)), float(Z * error / (2 * mean))


def draw_growth(axes: Axes, table: pd.DataFrame, scale: float, shift: float, **style: Any) -> None:
    """Draw binned values and the fitted power law; ``shift`` moves points sideways, in per cent."""
    x = table.n_atoms * (1 + shift / 100)
    values = [scale * table[c] for c in ("rms_ev", "low_ev", "high_ev")]
    whiskered(axes, x, *values, **{**style, "ls": "none"})
    axes.plot(table.n_atoms, scale * table.fit_ev, color=style["color"], lw=1.3)


def draw_guides(axes: Axes, table: pd.DataFrame, scale: float) -> None:
    """Draw lines of slope ½ and 1 that start at the first bin, and fix the limits."""
    n = np.array([table.n_atoms.min(), table.n_atoms.max()])
    start = table[table.n_atoms == n[0]]
    anchor = scale * float(np.exp(np.log(start.rms_ev[start.rms_ev > 0]).mean()))
    for slope, text in ((0.5, "√N"), (1.0, "N")):
        line = anchor * (n / n[0]) ** slope
        axes.plot(n, line, color=GUIDE, ls="--", lw=0.9, zorder=0)
        axes.annotate(text, (n[1], line[1]), (9, 0), textcoords="offset points", color=GUIDE,
                      va="center", fontsize=7.5)  # fmt: skip
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(n[0] / 1.25, n[1] * 1.7)
    ticks = [t for t in (2, 5, 10, 20, 50, 100, 200, 500) if n[0] / 1.25 <= t <= n[1] * 1.7]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.set_xticks([], minor=True)
    plain_ticks(axes)
