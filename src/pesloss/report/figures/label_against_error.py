"""Exponents with which labels deviate and errors of trained models grow with size."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.report import wording
from pesloss.report.drawing import (
    LABELS_COLOUR,
    by_dataset,
    colour,
    grid,
    guide,
    interval_text,
    losses_in,
    marker,
    nothing,
)
from pesloss.report.figures._claims import exponents

SOURCES = ("claims.csv", "best_exponent.csv")
TITLE = "Growth with size: exponents of label deviations and of energy errors"
BEST = "best_p"
CAPTION = (
    "Exponents of growth with size, a block a data set: labels in grey, errors of trained models "
    "by loss in colour, half the best p of a linear model in white. At ½ the proposal holds (√N); "
    "at 1 deviations add up as N. "
    "Where errors lie left of the labels, models have learnt what the atoms of a structure share. "
    "Blocks that name a number of steps are of longer trainings."
)
COLUMNS = [
    "dataset",
    "model",
    "series",
    "estimator",
    "exponent",
    "low",
    "high",
    "expected",
    "margin",
]


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the label exponents and the error exponents of each loss, datasets and models."""
    claims = sources["claims.csv"]
    only_control = claims.groupby("dataset").must_be.transform(lambda m: m.notna().all())
    claims = claims[~only_control.astype(bool)]
    labels = exponents(claims, "label_exponent").assign(series="labels")
    errors = exponents(claims, "error_exponent")
    errors["series"] = errors.loss
    best = sources["best_exponent.csv"]
    best = best[best.best_p_variance.notna() & best.dataset.isin(set(labels.dataset))]
    ends = (("estimate", ""), ("low", "_low"), ("high", "_high"))
    halves = {column: best[f"best_p_variance{end}"] / 2 for column, end in ends}
    weights = pd.DataFrame({"dataset": best.dataset, "model": "", "series": BEST, **halves})
    parts = [part for part in (labels, errors, weights) if len(part)] or [labels]
    return pd.concat(parts).rename(columns={"estimate": "exponent"})[COLUMNS]


def draw(table: pd.DataFrame) -> Figure:
    """Draw a row a dataset and loss, in blocks of datasets; labels first."""
    rows = _rows(table.fillna({"model": ""}))
    if not rows:
        return nothing(TITLE, "no exponents among the claims")
    figure, axes = grid(1, 1, TITLE, (7.2, 0.19 * len(rows) + 0.6))
    one: Axes = axes[0, 0]
    values = [row for row in rows if not isinstance(row, str)]
    low = min(-0.1, *(row["exponent"] - 0.1 for row in values))
    high = max(1.3, *(row["exponent"] + 0.1 for row in values))
    expected, margin = values[0]["expected"], values[0]["margin"]
    one.axvspan(expected - margin, expected + margin, color="#E6F2EE", zorder=-1, lw=0)
    guide(one, 0.5, "½  (√N)", horizontal=False)
    guide(one, 1.0, "1  (N)", horizontal=False)
    for place, row in enumerate(rows):
        _row(one, place, row)
    one.set(
        xlim=(low, high),
        ylim=(len(rows) - 0.4, -0.8),
        xlabel="exponent α, 95 % interval; shaded: where the claim holds",
    )
    one.set_yticks([])
    one.spines["left"].set_visible(False)
    return figure


def _rows(table: pd.DataFrame) -> list[Any]:
    """Return what to write from top to bottom: headings (text) and rows."""
    rows: list[Any] = []
    for dataset, model in by_dataset(table):
        part = table[(table.dataset == dataset) & (table.model == model)]
        labels = part[part.series == "labels"]
        errors = part[~part.series.isin(["labels", BEST])]
        if model == "" and (table[table.dataset == dataset].model != "").any():
            continue
        if model == "schnet":
            labels = table[(table.dataset == dataset) & (table.series == "labels")]
        rows.append(wording.dataset(dataset, model))
        rows += labels.sort_values("estimator").to_dict("records")
        best = table[(table.dataset == dataset) & (table.series == BEST)]
        rows += [
            errors[errors.series == loss].iloc[0].to_dict() for loss in losses_in(errors, "series")
        ]
        rows += best.to_dict("records") if model in ("", "schnet") else []
    return rows


def _row(axes: Axes, place: int, row: Any) -> None:
    beside = axes.get_yaxis_transform()
    if isinstance(row, str):
        axes.text(
            -0.02, place + 0.15, row, transform=beside, weight="bold", va="center", ha="right"
        )
        axes.axhline(place - 0.5, color="#DDDDDD", lw=0.6, zorder=0)
        return
    is_label = row["series"] == "labels"
    of_model = row["series"] not in ("labels", BEST)
    shade = colour(row["series"]) if of_model else LABELS_COLOUR
    axes.plot([row["low"], row["high"]], [place, place], color=shade, lw=1.6, clip_on=True)
    face = "white" if row["estimator"] == "line" or row["series"] == BEST else shade
    shape = marker(row["series"]) if of_model else "D" if is_label else "*"
    axes.plot(row["exponent"], place, marker=shape, color=shade, markerfacecolor=face, ls="none")
    name = _name(row)
    axes.text(-0.02, place, name, transform=beside, ha="right", va="center", color=shade)
    text = interval_text(row["exponent"], row["low"], row["high"])
    axes.text(1.02, place, text, transform=beside, va="center", color=shade, fontsize=7.5)


def _name(row: Any) -> str:
    if row["series"] == BEST:
        return "best p ÷ 2, linear model"
    if row["series"] != "labels":
        return f"errors, {wording.loss(row['series'])}"
    return "labels, line fit" if row["estimator"] == "line" else "labels"
