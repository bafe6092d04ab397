"""How every figure looks, and how one is drawn from tables and saved."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pesloss.job.code_digest import constants
from pesloss.job.errors import wrong_value
from pesloss.job.files import read_table, write_table, written_whole
from pesloss.losses.controls import is_control
from pesloss.report import wording

STYLE: Any = {
    "axes.edgecolor": "#888888",
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "savefig.dpi": 150,
    "svg.hashsalt": "pesloss",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
}

# For losses that name no colour of their own.
_MORE_COLOURS = ("#999933", "#882255", "#44AA99", "#6A3D9A", "#8C564B", "#B8860B")
GUIDE = "#9A9A9A"
LABELS_COLOUR = "#777777"
VERDICT_COLOURS = {"supported": "#009E73", "contradicted": "#D55E00", "undecided": "#8A8A8A"}
LOSS_FILES = Path(__file__).parents[1] / "losses" / "energy"
FIGURES = Path(__file__).parent / "figures"


def draw_figure(name: str, table_paths: Iterable[str], outputs: Mapping[str, str]) -> None:
    """Draw one figure and write it with the numbers in it.

    Parameters
    ----------
    name
        A file of ``pesloss/report/figures``.
    table_paths
        The tables its ``SOURCES`` names.
    outputs
        Paths under the keys ``csv``, ``svg`` and ``png``.

    Raises
    ------
    PeslossError
        When there is no such figure, or a table is missing, truncated or lacks a column.
    """
    module = load(name)
    tables = {Path(path).name: read_table(path) for path in table_paths}
    for source in module.SOURCES:
        if source not in tables:
            raise wrong_value(f"figure {name}", "tables", sorted(tables), module.SOURCES)
    try:
        drawn = module.table(tables)
    except KeyError as error:
        column = error.args[0]
        raise wrong_value(f"figure {name}", "column", column, "those of its tables") from None
    write_table(outputs["csv"], drawn)
    with styled():
        save(module.draw(read_table(outputs["csv"])), outputs)


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures are made and saved in the style of the suite."""
    return mpl.rc_context(STYLE)


def load(name: str) -> ModuleType:
    """Return the module of a figure."""
    known = sorted(path.stem for path in FIGURES.glob("*.py") if path.stem[0] != "_")
    if name not in known:
        raise wrong_value("pesloss/report/figures", "figure", name, known)
    return import_module(f"pesloss.report.figures.{name}")


def save(figure: Figure, outputs: Mapping[str, str]) -> None:
    """Write a figure as SVG and PNG, byte for byte repeatable."""
    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": "pesloss"},
        "png": {"Software": "pesloss"},
    }
    for kind, about in metadata.items():
        with written_whole(outputs[kind]) as scratch, styled():
            figure.savefig(scratch, format=kind, metadata=about)


def colour(loss: str) -> str:
    """Return the colour of a loss, the same in all figures: the ``COLOUR`` of its file.

    Those of the suite are Wong's, safe for colour-blind readers.
    """
    found = _of_loss(loss)
    if "COLOUR" in found:
        return str(found["COLOUR"])
    files = [path.stem for path in LOSS_FILES.glob("[!_]*.py") if not is_control(path.stem)]
    others = sorted(name for name in files if "COLOUR" not in _of_loss(name))
    place = others.index(loss) if loss in others else len(others)
    return _MORE_COLOURS[place % len(_MORE_COLOURS)]


def marker(loss: str) -> str:
    """Return the marker of a loss, the same in all figures: the ``MARKER`` of its file."""
    return str(_of_loss(loss).get("MARKER", "X"))


def _of_loss(loss: str) -> dict[str, Any]:
    path = LOSS_FILES / f"{loss}.py"
    return constants(path) if path.is_file() else {}


def shades(n: int, of: str = "viridis_r") -> list[Any]:
    """Return ``n`` colours of a sequence, its palest end left out: small to large."""
    return list(mpl.colormaps[of](np.linspace(0.25, 1.0, max(n, 1))))


def grid(
    n_rows: int,
    n_columns: int,
    title: str,
    size: tuple[float, float] = (2.9, 2.6),
    sharex: bool | Literal["col"] = False,
    sharey: bool | Literal["row"] = False,
) -> tuple[Figure, NDArray[Any]]:
    """Return a figure with a title and its panels, shape (n_rows, n_columns)."""
    height = size[1] * n_rows + 0.4
    figure = Figure(figsize=(max(size[0] * n_columns, 5.6), height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=sharex, sharey=sharey)
    return figure, axes


def panels(
    n: int, title: str, columns: int = 3, size: tuple[float, float] = (3.1, 2.7), **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``n`` panels in rows of ``columns``."""
    columns = min(columns, n)
    figure, axes = grid(-(-n // columns), columns, title, size, **shared)
    for unused in axes.flat[n:]:
        unused.set_axis_off()
    return figure, list(axes.flat[:n])


def each_dataset(
    table: pd.DataFrame,
    title: str,
    empty: str,
    panel: Callable[[Axes, pd.DataFrame], None],
    labels: tuple[str, str],
    models: bool = True,
    **shape: Any,
) -> Figure:
    """Return a figure with a panel a dataset and model, or a dataset alone; a text if ``empty``.

    Parameters
    ----------
    table
        What is drawn.
    title, shape
        As for `panels`.
    empty
        What is said where there is no dataset.
    panel
        Draws the rows of one dataset.
    labels
        Of x and y, for all panels; an empty one is left out.
    models
        Whether each model has a panel of its own.
    """
    pairs = by_dataset(table)
    if not pairs:
        return nothing(title, empty)
    figure, axes = panels(len(pairs), title, **shape)
    for one, (dataset, model) in zip(axes, pairs, strict=True):
        rows = table.dataset == dataset
        panel(one, table[rows & (table.model == model)] if models else table[rows])
        one.set_title(wording.dataset(dataset, model if models else ""))
    figure.supxlabel(labels[0], fontsize=9)
    if labels[1]:
        figure.supylabel(labels[1], fontsize=9)
    return figure


def nothing(title: str, why: str) -> Figure:
    """Return a figure that says why there is nothing to see."""
    figure, axes = panels(1, title)
    axes[0].set_axis_off()
    axes[0].text(0.0, 0.6, why, transform=axes[0].transAxes, color=LABELS_COLOUR)
    return figure


def guide(axes: Axes, value: float, text: str = "", horizontal: bool = True) -> None:
    """Draw a thin line at an expected value."""
    (axes.axhline if horizontal else axes.axvline)(value, color=GUIDE, lw=0.9, ls="--", zorder=0)
    if text and horizontal:
        axes.text(1.0, value, text, transform=axes.get_yaxis_transform(), color=GUIDE, va="bottom",
                  ha="right", fontsize=7.5)  # fmt: skip
    elif text:
        axes.text(value, 1.0, text, transform=axes.get_xaxis_transform(), color=GUIDE, ha="center",
                  va="bottom", fontsize=7.5)  # fmt: skip


def whiskered(axes: Axes, x: Any, y: Any, low: Any, high: Any, **style: Any) -> None:
    """Draw points joined by a line, with vertical whiskers from low to high."""
    axes.plot(x, y, **{"marker": "o", **style})
    axes.vlines(x, low, high, color=style.get("color"), lw=1.0, alpha=0.7)


def end_labels(axes: Axes, entries: Sequence[tuple[float, str, str]], gap: float = 0.085) -> None:
    """Write (y, text, colour) right of the axes at their height, moved apart where they touch."""
    if not entries:
        return
    known = [entry for entry in entries if np.isfinite(entry[0])]
    place = axes.transData.transform([(axes.get_xlim()[0], y) for y, _, _ in known])
    heights = axes.transAxes.inverted().transform(place)[:, 1]
    order = np.argsort(heights, kind="stable")
    for rank, (i, height) in enumerate(zip(order, _apart(heights[order], gap), strict=True)):
        _, text, shade = known[i]
        axes.text(1.02, height, text, transform=axes.transAxes, color=shade, va="center",
                  fontsize=8, zorder=rank)  # fmt: skip


def _apart(heights: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Return sorted heights at least ``gap`` apart, about where they were."""
    steps = gap * np.arange(len(heights))
    inside = np.clip(heights, 0.0, 1.0)
    moved = np.maximum.accumulate(inside - steps) + steps
    return np.asarray(moved - np.mean(moved - inside))


def plain_ticks(axes: Axes, which: str = "y") -> None:
    """Write the ticks of logarithmic axes as plain numbers, more of them on short axes."""
    for letter in which:
        axis = axes.xaxis if letter == "x" else axes.yaxis
        low, high = axes.get_xlim() if letter == "x" else axes.get_ylim()
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if high / low < 4:
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        elif high / low < 50:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        elif high / low < 500:
            axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.set_minor_locator(NullLocator())


def coloured_lines(
    axes: Axes, lines: Sequence[tuple[str, Any]], x: float = 0.03, top: float = 0.98
) -> None:
    """Write lines of text, each in its colour, from the top of the panel."""
    for i, (text, shade) in enumerate(lines):
        axes.annotate(text, (x, top), (0, -10.5 * i), xycoords="axes fraction",
                      textcoords="offset points", color=shade, va="top", fontsize=7.5,
                      ha="left" if x < 0.5 else "right")  # fmt: skip


def interval_text(estimate: float, low: float, high: float) -> str:
    """Return ``0.48 [0.44, 0.52]`` with true minus signs."""
    return f"{estimate:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")


def by_dataset(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs (dataset, model) of a table in the order figures show them."""
    pairs = set(zip(table.dataset, table.model if "model" in table else [""] * len(table),
                    strict=True))  # fmt: skip
    datasets = wording.datasets((dataset for dataset, _ in pairs))
    models = wording.models((model for _, model in pairs))
    return [(d, m) for d in datasets for m in models if (d, m) in pairs]


def losses_in(table: pd.DataFrame, column: str = "energy_loss") -> list[str]:
    """Return the losses of a table in the order figures show them, without control losses."""
    return wording.losses(n for n in table[column] if not is_control(str(n)))
