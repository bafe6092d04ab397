"""How do the errors of trained models grow with size? (C7)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pesloss.claims.measurement import Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures._slopes import slope_interval
from pesloss.claims.runs import Comparison

TITLE = "exponent"
WORDS = {"of=energy": "(energies)", "of=forces": "of forces", "by=phase": "by phase"}
EXPECTED = {"of=forces": 0, "": 0.5}
MARGIN = 0.1
WHY = {
    "of=forces": (
        "Forces belong to atoms, so their exponent is 0. 0.1 is a fifth of the distance between ½ "
        "and 1; over two decades of size it makes a factor 1.6."
    ),
    "": (
        "½ is what the proposal expects of energies, also within one phase. 0.1 is a fifth of the "
        "distance between ½ and 1; over two decades of size it makes a factor 1.6."
    ),
}
SCOPE = "runs"
OPTIONS = {"of": ("energy", "forces"), "by": ("", "phase")}
SMALLEST_GROUP = 40


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield α of ``⟨ΔE²⟩ ∝ N^(2α)`` on test structures for each loss at its own best weight.

    With ``of: forces`` the same of the mean squared force error of a structure (C10). With
    ``by: phase`` the same within each phase that has several sizes and 40 test structures.
    """
    chosen = choose(options, OPTIONS, "error_exponent")
    for loss in data.losses:
        weight = data.best_weight(loss)
        values = data.values(
            loss,
            weight,
            lambda t: t.energy_error**2 if chosen["of"] == "energy" else t.force_mse,
        )
        table = data.tested()
        for phase, mask in _parts(table, chosen["by"]):
            yield slope_interval(
                table[mask].reset_index(drop=True),
                values[:, mask],
                sampling,
                half=True,
                loss=loss,
                force_weight=weight,
                group=phase,
            )


def _parts(table: pd.DataFrame, by: str) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the whole table, or each phase that is large enough and has several sizes."""
    if not by:
        yield "", np.ones(len(table), dtype=bool)
        return
    for phase in sorted(table[by].unique()):
        mask = (table[by] == phase).to_numpy()
        if mask.sum() >= SMALLEST_GROUP and table.n_atoms[mask].nunique() > 1:
            yield str(phase), mask
