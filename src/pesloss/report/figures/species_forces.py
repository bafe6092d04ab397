"""Force errors by species under both force losses, and the variance of F′ by species."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.report import wording
from pesloss.report.drawing import (
    LABELS_COLOUR,
    by_dataset,
    colour,
    coloured_lines,
    grid,
    guide,
    losses_in,
    marker,
    nothing,
    whiskered,
)
from pesloss.report.figures._runs import over_weights

SOURCES = ("species_errors.csv", "statistics.csv", "claims.csv")
TITLE = "Forces by species: how wide the labels are, and how large the errors of trained models"
CAPTION = (
    "Left the variance of standardized forces by species, 1 expected. Right the force errors by "
    "species under both force losses: the flatter the line, the better species are balanced."
)
ENERGY_LOSS = "standardized"
VARIANCE = "variance of labels"
COLUMNS = ["dataset", "species", "force_scale", "force_loss", "value", "low", "high", "n_seeds"]


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return RMSE / η by species and force loss, and the variance of F′ with its interval.

    Errors are those of the standardized energy loss, at the force weights that all force losses
    of a dataset were trained with.
    """
    fitted = sources["statistics.csv"].set_index(["dataset", "species"])
    scale = fitted.force_scale_ev_per_angstrom.rename("force_scale").dropna()
    found = pd.concat(
        [_errors(sources["species_errors.csv"], scale), _variances(sources["claims.csv"])]
    )
    return found.merge(scale.reset_index(), on=["dataset", "species"], how="left")[COLUMNS]


def _errors(species: pd.DataFrame, scale: pd.Series) -> pd.DataFrame:
    base = (species.variant == "base") & (species.metric == "mse") & (species.model == "schnet")
    rows = species[base & (species.energy_loss == ENERGY_LOSS)]
    n_losses = rows.groupby("dataset").force_loss.transform("nunique")
    rows = rows[
        rows.groupby(["dataset", "force_weight"]).force_loss.transform("nunique") == n_losses
    ]
    rows = rows.merge(scale.reset_index(), on=["dataset", "species"])
    rows = rows.assign(relative=rows.force_rmse_ev_per_angstrom / rows.force_scale)
    keys = ["dataset", "species", "force_loss"]
    return over_weights(rows, keys, "relative")


def _variances(claims: pd.DataFrame) -> pd.DataFrame:
    options = claims.options.fillna("")
    rows = claims[(claims.statistic == "force_moment") & (options == "moment=variance")]
    names = {"group": "species", "estimate": "value", "ci_low": "low", "ci_high": "high"}
    rows = rows.rename(columns=names).assign(force_loss=VARIANCE)
    return rows[[column for column in COLUMNS if column != "force_scale"]]


def draw(table: pd.DataFrame) -> Figure:
    """Draw one row a dataset: variance of labels left, errors right."""
    datasets = [dataset for dataset, _ in by_dataset(table)]
    if not datasets:
        return nothing(TITLE, "no dataset has forces")
    figure, axes = grid(len(datasets), 2, TITLE, (3.8, 2.1))
    for row, dataset in zip(axes, datasets, strict=True):
        part = table[table.dataset == dataset]
        labels = part[part.force_loss == VARIANCE]
        species = sorted(part.species.unique())
        _labels(row[0], labels, species)
        _panel(row[1], part[part.force_loss != VARIANCE], species)
        row[0].set_title(wording.dataset(dataset))
        for one in row:
            one.set_xticks(range(len(species)), species)
            one.tick_params(axis="x", labelsize=min(8.0, 130 / max(len(species), 1)))
            one.set_xlim(-0.5, len(species) - 0.5)
            one.set_ylim(0, 1.3 * one.get_ylim()[1])
    return figure


def _labels(axes: Axes, table: pd.DataFrame, species: list[str]) -> None:
    x = table.species.map(species.index)
    whiskered(
        axes, x, table.value, table.low, table.high, color=LABELS_COLOUR, ls="none", marker="D"
    )
    guide(axes, 1.0)
    axes.set_ylabel("variance of F′ = F/η\n(held out, 95 %)")
    if table.empty:
        axes.text(0.5, 0.5, "too few structures", transform=axes.transAxes, ha="center")


def _panel(axes: Axes, table: pd.DataFrame, species: list[str]) -> None:
    lines, losses = [], losses_in(table, "force_loss")
    for i, loss in enumerate(losses):
        part = table[table.force_loss == loss]
        x = part.species.map(species.index) + 0.14 * (i - (len(losses) - 1) / 2)
        part = part.assign(x=x).sort_values("x")
        whiskered(axes, part.x, part.value, part.low, part.high, color=colour(loss),
                  marker=marker(loss), ls=":")  # fmt: skip
        lines.append((f"{wording.loss(loss)} force loss", colour(loss)))
    coloured_lines(axes, lines)
    axes.set_ylabel("force rmse / η\n(bars: all seeds)")
    if table.empty:
        axes.text(0.5, 0.5, "no runs", transform=axes.transAxes, ha="center", color=LABELS_COLOUR)
