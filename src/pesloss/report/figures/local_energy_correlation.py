"""How local energies and their errors go together within a structure, and what it predicts.

A model's split of an energy into atoms is not fixed by energies and forces: what it moves from
an atom to its neighbours lowers the near shells of the errors and no sum. The number
beside each series holds the sum over all shells: the mean square of the sum over that of
independent atoms. Intervals of correlations are drawn as far as ±1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.report import wording
from pesloss.report.drawing import (
    GUIDE,
    LABELS_COLOUR,
    by_dataset,
    colour,
    coloured_lines,
    grid,
    guide,
    marker,
    nothing,
)

SOURCES = ("correlation.csv", "predicted_exponents.csv")
TITLE = (
    "Do the energies of single atoms, and a model's errors of them, go together within a structure?"
)
CAPTION = (
    "How the local energies of a structure, and their errors, go together with distance, by phase, "
    "and the size exponents that follow, against the measured ones."
)
LABELS = "labels"
COLUMNS = [
    *("dataset", "model", "series", "force_weight", "phase", "quantity", "low", "high", "value"),
    *("ci_low", "ci_high", "measured", "measured_low", "measured_high"),
]
FILLS = {"independent": "none", "short_range": "left", "shared": "full"}


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return correlations by shell and phase, and predicted beside measured exponents."""
    shells = sources["correlation.csv"]
    found = sources["predicted_exponents.csv"].rename(columns={"exponent": "value"})
    keys = ["dataset", "model", "series", "force_weight"]
    found = found.assign(model=found.model.fillna(""), force_weight=found.force_weight.fillna(0.0))
    measured = found[found.which == "measured"].rename(
        columns={"value": "measured", "ci_low": "measured_low", "ci_high": "measured_high"}
    )
    measured = measured[[*keys, "measured", "measured_low", "measured_high"]]
    predicted = found[found.which != "measured"].rename(columns={"which": "quantity"})
    predicted = predicted.merge(measured, on=keys)
    both = [part.reindex(columns=COLUMNS) for part in (shells, predicted) if len(part)]
    rows = [row for part in both for row in part.to_dict("records")]
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(table: pd.DataFrame) -> Figure:
    """Draw a row of phases for each dataset, then a panel of exponents for each dataset."""
    table = table.fillna({"model": ""})
    datasets = list(dict.fromkeys(dataset for dataset, _ in by_dataset(table)))
    if not datasets:
        return nothing(TITLE, "no local energies to compare")
    phases = {d: sorted(table[(table.dataset == d)].phase.dropna().unique()) for d in datasets}
    width = max(3, len(datasets), *(len(names) for names in phases.values()))
    figure, axes = grid(len(datasets) + 1, width, TITLE, (2.3, 2.5))
    for row, name in zip(axes, datasets, strict=False):
        for one, phase in zip(row, phases[name], strict=False):
            _shells(one, table[(table.dataset == name) & (table.phase == phase)])
            one.set_title(wording.phase(phase))
        row[0].set_ylabel(f"{wording.dataset(name)}\ncorrelation of two atoms")
    for one, name in zip(axes[-1], datasets, strict=False):
        _exponents(one, table[(table.dataset == name) & table.quantity.isin(FILLS)])
        one.set_title(wording.dataset(name))
    axes[-1, 0].set_ylabel("exponent α of the energy, measured")
    for row, n in zip(axes, [*map(len, phases.values()), len(datasets)], strict=True):
        for unused in row[n:]:
            unused.set_axis_off()
    _key(axes[-1, len(datasets)]) if width > len(datasets) else None
    return figure


def _series(table: pd.DataFrame) -> list[str]:
    return wording.ordered(table.series, {LABELS: "", **wording.LOSSES})


def _shade(series: str) -> str:
    return LABELS_COLOUR if series == LABELS else colour(series)


def _shells(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the correlation against distance; beside it the sum over all shells."""
    lines = [("⟨(Σδ)²⟩ / Σ⟨δ²⟩", GUIDE)]
    guide(axes, 0.0)
    names = _series(table)
    for i, name in enumerate(names):
        part = table[table.series == name]
        shells = part[part.quantity == "correlation"].sort_values("low")
        high = shells.high.where(np.isfinite(shells.high), shells.low + 3)
        x = np.maximum((shells.low + high) / 2, 2.4) + 0.12 * (i - (len(names) - 1) / 2)
        shape = "D" if name == LABELS else marker(name)
        axes.plot(x, shells.value, color=_shade(name), marker=shape, markersize=3, lw=1.1)
        low, top = (shells[column].clip(-1, 1) for column in ("ci_low", "ci_high"))
        axes.vlines(x, low, top, color=_shade(name), lw=0.8, alpha=0.6)
        summed = part[part.quantity == "summed"].value
        text = LABELS if name == LABELS else f"errors, {wording.loss(name)}"
        lines += [(f"{text}: {_short(value)}", _shade(name)) for value in summed]
    axes.set_xlim(1.8, 15)
    axes.set_ylim(-0.6, 2.1)
    axes.set_yticks([-0.5, 0, 0.5, 1.0])
    axes.set_xlabel("distance (Å)")
    coloured_lines(axes, lines, x=0.97)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _exponents(axes: Axes, table: pd.DataFrame) -> None:
    """Draw measured against predicted exponents; on the diagonal they agree."""
    for value, text in ((0.5, "½"), (1.0, "1")):
        guide(axes, value, text)
        guide(axes, value, horizontal=False)
    limits = [0.0, 1.4]
    axes.plot(limits, limits, color=GUIDE, lw=0.9, zorder=0)
    rows: list[Any] = table.dropna(subset=["value", "measured"]).to_dict("records")
    for row in rows:
        series, x, y = row["series"], row["value"], row["measured"]
        shape = "D" if series == LABELS else marker(series)
        line: dict[str, Any] = {"color": _shade(series), "lw": 0.8, "alpha": 0.6}
        fill: Any = FILLS[row["quantity"]]
        axes.plot(x, y, shape, ls="none", markersize=5, color=_shade(series), fillstyle=fill)
        axes.hlines(y, row["ci_low"], row["ci_high"], **line)
        axes.vlines(x, row["measured_low"], row["measured_high"], **line)
    axes.set(xlim=limits, ylim=limits, xlabel="predicted from single atoms")


def _key(axes: Axes) -> None:
    """Say what the fillings of the markers mean."""
    for place, (name, fill) in enumerate(FILLS.items()):
        height = 0.9 - 0.12 * place
        words = wording.option("predicted_exponent", f"model={name}")
        axes.plot(0.06, height, "o", color="#444444", fillstyle=fill, transform=axes.transAxes)
        axes.text(0.14, height, words, transform=axes.transAxes, va="center")
    axes.set(xlim=(0, 1), ylim=(0, 1))
