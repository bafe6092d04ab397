"""Validation errors while models train, against steps and against time, by loss."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.evaluation.score import CELL, comparable
from pesloss.report import wording
from pesloss.report.drawing import (
    by_dataset,
    colour,
    end_labels,
    grid,
    losses_in,
    nothing,
    plain_ticks,
)

SOURCES = ("history.csv",)
TITLE = "Validation errors at equal steps and at equal time, at the usual force weight"
CAPTION = (
    "Validation errors of energies and forces while models train, at equal steps (left) and at "
    "equal time (right); lines that end together say that the loss does not matter."
)
ERRORS = {
    "energy_rmse_ev_per_atom": "energy rmse (meV/atom)",
    "force_rmse_ev_per_angstrom": "force rmse (meV/Å)",
}


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the geometric mean over seeds of errors (eV) by loss, step and mean time (s).

    At the force weight that most runs have; where some have several seeds, those alone.
    """
    curves = comparable(sources["history.csv"])
    usual = curves.force_weight.mode()
    curves = curves[curves.force_weight.isin(usual.tail(1))]
    logs = curves.assign(**{name: np.log(curves[name]) for name in ERRORS})
    means = logs.groupby([*CELL, "force_weight", "step"])[["seconds", *ERRORS]].mean().reset_index()
    counts = curves.groupby([*CELL, "step"]).seed.nunique().rename("n_seeds").reset_index()
    means[list(ERRORS)] = np.exp(means[list(ERRORS)])
    found = means.merge(counts, on=[*CELL, "step"])
    return found[found.n_seeds > 1] if (found.n_seeds > 1).any() else found


def draw(table: pd.DataFrame) -> Figure:
    """Draw one row a dataset and model: energies and forces against steps, then against time."""
    pairs = by_dataset(table)
    if not pairs:
        return nothing(TITLE, "no runs to compare")
    title = f"{TITLE}, {table.force_weight.iloc[0]:g}; mean over seeds"
    figure, axes = grid(len(pairs), 4, title, (3.0, 2.2))
    for row, (dataset, model) in zip(axes, pairs, strict=True):
        part = table[(table.dataset == dataset) & (table.model == model)]
        for one, (x, error) in zip(row, ((x, e) for x in ("step", "seconds") for e in ERRORS),
                                   strict=True):  # fmt: skip
            _panel(one, part, x, error)
            one.set_ylabel(ERRORS[error])
        row[0].set_title(wording.dataset(dataset, model))
    for one in axes[-1, :2]:
        one.set_xlabel("optimiser steps")
    for one in axes[-1, 2:]:
        one.set_xlabel("time (s) on one thread, start-up included")
    return figure


def _panel(axes: Axes, table: pd.DataFrame, x: str, error: str) -> None:
    ends = []
    for loss in losses_in(table):
        part = table[table.energy_loss == loss].sort_values("step")
        axes.plot(part[x], 1e3 * part[error], color=colour(loss), lw=1.2)
        ends.append((1e3 * float(part[error].iloc[-1]), wording.loss(loss), colour(loss)))
    axes.set_yscale("log")
    plain_ticks(axes)
    end_labels(axes, ends)
