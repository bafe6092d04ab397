"""How deviations of raw energies from Σμ grow with size, with the fitted exponent."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from pesloss.report import wording
from pesloss.report.drawing import (
    LABELS_COLOUR,
    by_dataset,
    coloured_lines,
    interval_text,
    nothing,
    panels,
)
from pesloss.report.figures._claims import exponents
from pesloss.report.figures._growth import COLUMNS, binned, draw_growth, draw_guides

SOURCES = ("labels.csv.gz", "claims.csv")
TITLE = "How far label energies lie from the sum of mean atomic energies, by size"
CAPTION = (
    "How far labels lie from the sum of mean atomic energies, by size. Points along the line √N "
    "are what the proposal expects; points along N mean that atoms of a structure deviate "
    "together."
)
COLOUR = "#0072B2"


def table(sources: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return root mean square deviations in bins of size, with the exponent of each dataset."""
    labels, fitted = sources["labels.csv.gz"], exponents(sources["claims.csv"], "label_exponent")
    fitted = fitted[fitted.estimator == "gamma"].set_index("dataset")
    held_out = labels[labels.split.isin(("validation", "test"))]
    parts = []
    for dataset, part in held_out.groupby("dataset"):
        found = fitted.loc[dataset] if dataset in fitted.index else None
        number = [float("nan")] * 3 if found is None else list(found[["estimate", "low", "high"]])
        about = dict(zip(("exponent", "exponent_low", "exponent_high"), number, strict=True))
        bins = binned(part, "energy_deviation", number[0])
        parts.append(bins.assign(dataset=dataset, **about))
    columns = ["dataset", *COLUMNS, "exponent", "exponent_low", "exponent_high"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def draw(table: pd.DataFrame) -> Figure:
    """Draw one panel a dataset."""
    datasets = [dataset for dataset, _ in by_dataset(table)]
    if not datasets:
        return nothing(TITLE, "no held-out structures")
    figure, axes = panels(
        len(datasets), TITLE, columns=4 if len(datasets) > 6 else 3, size=(2.7, 2.5)
    )
    for one, dataset in zip(axes, datasets, strict=True):
        part = table[table.dataset == dataset]
        draw_growth(one, part, 1.0, 0.0, color=COLOUR, marker="o")
        draw_guides(one, part, 1.0)
        fit = part.iloc[0]
        if pd.notna(fit.exponent):
            text = interval_text(fit.exponent, fit.exponent_low, fit.exponent_high)
            coloured_lines(one, [(f"exponent {text}", COLOUR)])
        else:
            coloured_lines(one, [("exponent not claimed", LABELS_COLOUR)])
        one.set_title(wording.dataset(dataset))
    figure.supxlabel("number of atoms N", fontsize=9)
    figure.supylabel("rms of E − Σμ (eV), 95 % intervals", fontsize=9)
    return figure
