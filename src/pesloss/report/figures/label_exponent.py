"""How deviations of raw energies from Σμ grow with size, with the fitted exponent."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.report.drawing import LABELS_COLOUR, coloured_lines, each_dataset, interval_text
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
    columns = 4 if table.dataset.nunique() > 6 else 3
    labels = ("number of atoms N", "rms of E − Σμ (eV), 95 % intervals")
    return each_dataset(table, TITLE, "no held-out structures", _panel, labels, models=False,
                        columns=columns, size=(2.7, 2.5))  # fmt: skip


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    draw_growth(axes, table, 1.0, 0.0, color=COLOUR, marker="o")
    draw_guides(axes, table, 1.0)
    fit = table.iloc[0]
    if pd.notna(fit.exponent):
        text = interval_text(fit.exponent, fit.exponent_low, fit.exponent_high)
        coloured_lines(axes, [(f"exponent {text}", COLOUR)])
    else:
        coloured_lines(axes, [("exponent not claimed", LABELS_COLOUR)])
