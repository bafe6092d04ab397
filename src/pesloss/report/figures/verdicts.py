"""All verdicts: estimates and intervals in units of the margin; shaded: where a claim holds."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.claims.collect import with_texts
from pesloss.job.errors import PeslossError
from pesloss.report import wording
from pesloss.report.drawing import GUIDE, VERDICT_COLOURS, grid, nothing
from pesloss.spec.names import claim_number

SOURCES = ("claims.csv",)
TITLE = "Verdicts: distance from the expected value in margins; shaded: where the claim holds"
CAPTION = (
    "Every verdict as the distance of the estimate from the expected value, in margins. A claim "
    "holds where the whole interval is shaded; arrows lie beyond the frame."
)
LIMIT = 4.0
COLUMNS = ["claim", "subject", "what", "dataset", "model", "loss", "group", "relation", "distance",
           "low", "high", "verdict"]  # fmt: skip
ROW = ["claim", "subject", "what", "relation"]


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return every measurement that is no control as (estimate − expected) / margin."""
    claims = with_texts(sources["claims.csv"])
    claims = claims[claims.must_be == ""]
    if (claims.margin <= 0).any():
        raise PeslossError("claims.csv: margin is 0; allowed: above 0")
    words = [
        wording.statistic(*pair) for pair in zip(claims.statistic, claims.options, strict=True)
    ]
    found = claims.assign(what=words)
    for name, source in (("distance", "estimate"), ("low", "ci_low"), ("high", "ci_high")):
        found[name] = (claims[source] - claims.expected) / claims.margin
    return found[COLUMNS]


def draw(table: pd.DataFrame) -> Figure:
    """Draw a row a statistic, under headings of claims, and a column a dataset."""
    if table.empty:
        return nothing(TITLE, "no claims were measured")
    table = table.fillna({"model": "", "loss": "", "group": ""})
    lines = _lines(table)
    datasets = wording.datasets(table.dataset)
    size = (1.25 + 3.0 / len(datasets), 0.25 * len(lines) + 0.9)
    figure, axes = grid(1, len(datasets), TITLE, size, sharey=True)
    for one, dataset in zip(axes[0], datasets, strict=True):
        _column(one, table[table.dataset == dataset], lines)
        one.set_title(fill(wording.dataset(dataset), 13), fontsize=8)
    axes[0, 0].set_ylim(len(lines) - 0.5, -0.5)
    _names(axes[0, 0], lines, table)
    _key(figure)
    return figure


def _lines(table: pd.DataFrame) -> list[Any]:
    """Return the lines of the picture from top to bottom: claims and, below each, its rows."""
    subjects = ("labels", "linear model", "errors")
    relations = ("greater", "less", "equals", "differs")
    rows = sorted(
        set(table[ROW].itertuples(index=False, name=None)),
        key=lambda row: (claim_number(row[0]), subjects.index(row[1]), row[2],
                         relations.index(row[3])),
    )  # fmt: skip
    lines: list[Any] = []
    for row in rows:
        lines += [row[0]] if row[0] not in lines else []
        lines.append(row)
    return lines


def _names(axes: Axes, lines: list[Any], table: pd.DataFrame) -> None:
    names = [line if isinstance(line, str) else _name(line, table) for line in lines]
    axes.set_yticks(
        range(len(lines)), ["" if isinstance(n, str) and n in lines else n for n in names]
    )
    axes.set_zorder(1)
    axes.patch.set_visible(False)
    for place, line in enumerate(lines):
        if isinstance(line, str):
            heading = axes.annotate(
                wording.claim(line), (0, place), (-190, 0), textcoords="offset points",
                xycoords=axes.get_yaxis_transform(), weight="bold", va="center", fontsize=8.5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
            heading.set_in_layout(False)


def _name(row: tuple[Any, ...], table: pd.DataFrame) -> str:
    _, subject, what, _ = row
    part = table[(table[ROW] == list(row)).all(axis=1)]
    losses = wording.losses(n for n in part.loss if n and "+" not in n)
    named = f", {', '.join(map(wording.loss, losses))}" if 0 < len(losses) < 3 else ""
    return f"{subject}{named}: {what}"


def _column(axes: Axes, table: pd.DataFrame, lines: list[Any]) -> None:
    for place, line in enumerate(lines):
        if isinstance(line, str):
            continue
        low, high = {"greater": (1, LIMIT), "less": (-LIMIT, -1)}.get(line[3], (-1, 1))
        part = table[(table[ROW] == list(line)).all(axis=1)]
        if line[3] != "differs" and len(part):
            axes.fill_betweenx([place - 0.42, place + 0.42], low, high, color="#DCEFE8", lw=0)
        _marks(axes, part.sort_values("distance", kind="stable"), place)
        axes.axhline(place + 0.5, color="#E8E8E8", lw=0.5, zorder=0)
    axes.axvline(0, color=GUIDE, lw=0.7, zorder=0)
    axes.set_xlim(-LIMIT, LIMIT)
    axes.set_xticks([-3, -1, 1, 3], ["−3", "−1", "1", "3"])
    axes.tick_params(axis="y", length=0)


def _marks(axes: Axes, part: pd.DataFrame, place: int) -> None:
    """Draw the measurements of one cell, one below the other; arrows where they leave the frame."""
    offsets = np.linspace(-0.3, 0.3, len(part)) if len(part) > 1 else np.zeros(len(part))
    width = min(1.2, 12 / max(len(part), 1))
    for offset, (_, row) in zip(offsets, part.iterrows(), strict=True):
        shade = VERDICT_COLOURS[row.verdict]
        axes.hlines(place + offset, row.low, row.high, color=shade, lw=width)
        x = float(np.clip(row.distance, -LIMIT + 0.25, LIMIT - 0.25))
        shape = "o" if x == row.distance else ">" if row.distance > 0 else "<"
        axes.plot(
            x,
            place + offset,
            marker=shape,
            color=shade,
            markersize=min(3.2, 3 * width + 0.6),
            ls="none",
        )


def _key(figure: Figure) -> None:
    width = figure.get_figwidth()
    for place, (answer, shade) in enumerate(VERDICT_COLOURS.items()):
        x = (0.1 + 1.1 * place) / width
        figure.text(x, 0.004, f"● {answer}", color=shade, fontsize=9)
    figure.supxlabel("(estimate − expected) / margin; arrows: beyond the frame", fontsize=9, x=0.66)
