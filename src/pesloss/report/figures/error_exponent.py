"""How energy errors of trained models grow with size, by loss, with the fitted exponents."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.evaluation.score import CELL, at_best_weight
from pesloss.report import wording
from pesloss.report.drawing import (
    colour,
    coloured_lines,
    each_dataset,
    interval_text,
    losses_in,
    marker,
    plain_ticks,
)
from pesloss.report.figures._claims import exponents
from pesloss.report.figures._growth import COLUMNS, binned, draw_growth, draw_guides

SOURCES = ("errors.csv.gz", "runs.csv", "labels.csv.gz", "claims.csv")
TITLE = "How energy errors of trained models grow with size, each loss at its best force weight"
CAPTION = (
    "How energy errors of trained models grow with size, each loss at its best force weight. "
    "Compare the slopes with the guide lines √N and N: a line along √N is what the proposal "
    "expects. Numbers are fitted exponents with 95 % intervals."
)
ALL = [*CELL, "force_weight", *COLUMNS, "exponent", "exponent_low", "exponent_high"]


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return root mean square errors in bins of size, seeds pooled, with the exponents of C7."""
    families = sources["labels.csv.gz"][["dataset", "structure", "group"]]
    errors = at_best_weight(sources["errors.csv.gz"], sources["runs.csv"])
    errors = errors.merge(families, on=["dataset", "structure"], how="left")
    fitted = exponents(sources["claims.csv"], "error_exponent")
    fitted = fitted.set_index(["dataset", "model", "loss"])[["estimate", "low", "high"]]
    parts = []
    for cell, part in errors.groupby([*CELL, "force_weight"]):
        number = _number(fitted, cell[:3])
        about: dict[str, Any] = dict(zip([*CELL, "force_weight"], cell, strict=True))
        about |= dict(zip(ALL[-3:], number, strict=True))
        parts.append(binned(part, "energy_error", number[0]).assign(**about))
    return pd.concat(parts)[ALL] if parts else pd.DataFrame(columns=ALL)


def _number(fitted: pd.DataFrame, cell: tuple[Any, ...]) -> list[float]:
    return list(fitted.loc[cell]) if cell in fitted.index else [float("nan")] * 3


def draw(table: pd.DataFrame) -> Figure:
    """Draw one panel a dataset and model, one colour a loss."""
    labels = ("number of atoms N", "energy error of a structure, rms (meV), 95 % intervals")
    return each_dataset(table, TITLE, "no runs to compare", _panel, labels, size=(3.3, 3.0))


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    lines = []
    losses = losses_in(table)
    for i, loss in enumerate(losses):
        part = table[table.energy_loss == loss]
        shift = 4.0 * (i - (len(losses) - 1) / 2)
        draw_growth(axes, part, 1e3, shift, color=colour(loss), marker=marker(loss), markersize=4)
        fit = part.iloc[0]
        text = interval_text(fit.exponent, fit.exponent_low, fit.exponent_high)
        lines.append(
            (f"{wording.loss(loss)}  {text if pd.notna(fit.exponent) else ''}", colour(loss))
        )
    draw_guides(axes, table, 1e3)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.4)
    plain_ticks(axes)
    coloured_lines(axes, lines)
