"""How much a loss shifts error between small and large structures, by size of the model."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from pesloss.report import wording
from pesloss.report.drawing import (
    by_dataset,
    colour,
    end_labels,
    guide,
    losses_in,
    marker,
    nothing,
    panels,
    whiskered,
)

SOURCES = ("claims.csv", "runs.csv")
ABLATION = "capacity"
TITLE = "Does a larger model need to choose whom it serves?"
CAPTION = (
    "How far raw and 1/N shift error between small and large structures, against the size of the "
    "model; if only small models had to choose whom they serve, lines would run to 0 on the right."
)
COLUMNS = ["dataset", "model", "loss", "n_features", "shift", "low", "high", "n_seeds"]


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the shift of error by dataset, loss and number of features of the model."""
    claims, runs = sources["claims.csv"], sources["runs.csv"]
    rows = claims[(claims.ablation == ABLATION) & (claims.statistic == "size_tradeoff")]
    cell = ["dataset", "model", "variant"]
    sizes = runs[[*cell, "n_features"]].drop_duplicates()
    found = rows.rename(columns={"estimate": "shift", "ci_low": "low", "ci_high": "high"})
    return found.merge(sizes, on=cell)[COLUMNS]


def draw(table: pd.DataFrame) -> Figure:
    """Draw one panel a dataset: shift against number of features, one line a loss."""
    pairs = by_dataset(table)
    if not pairs:
        return nothing(TITLE, "no models of several sizes")
    figure, axes = panels(len(pairs), TITLE, size=(3.6, 2.8))
    for one, (dataset, model) in zip(axes, pairs, strict=True):
        part = table[(table.dataset == dataset) & (table.model == model)]
        ends = []
        for i, loss in enumerate(losses_in(part, "loss")):
            line = part[part.loss == loss].sort_values("n_features")
            x = line.n_features * (1 + 0.04 * i)
            whiskered(one, x, line["shift"], line.low, line.high, color=colour(loss),
                      marker=marker(loss))  # fmt: skip
            ends.append((float(line["shift"].iloc[-1]), wording.loss(loss), colour(loss)))
        sizes = sorted(part.n_features.unique())
        one.set_xscale("log")
        one.set_xticks(sizes, [f"{size:g}" for size in sizes])
        one.set_xticks([], minor=True)
        guide(one, 0.0, "as standardized")
        end_labels(one, ends)
        one.set_title(wording.dataset(dataset, model))
    axes[0].set_ylabel("shift of log error, small against large\n(above 0: serves large ones)")
    figure.supxlabel("features of the model   (95 % intervals)", fontsize=9)
    return figure
