"""Best exponents and data multipliers with intervals, out of the fits of a dataset."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pesloss.inference import interval
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.linear.weightings import best_exponent

Array = NDArray[np.float64]
LEVEL = 0.95
SCORES = {
    "variance": ("log_variance",),
    "error": ("log_error",),
    "ev": ("log_rmse_ev",),
    "ev_per_root_atom": ("log_rmse_ev_per_root_atom",),
    "ev_per_atom": ("log_rmse_ev_per_atom",),
    "mean": ("log_rmse_ev", "log_rmse_ev_per_root_atom", "log_rmse_ev_per_atom"),
}
"""By what a weighting is judged, and the columns whose mean that is; smaller is better.

``variance``: variance of the fit's predictions; ``error``: errors on structures of the other half,
both with equal say for every group of size; then root mean square errors in three units, each of
which weighs sizes in its own way, and the mean of their logarithms.
"""
LOSSES = ("raw", "sqrt_root", "sqrt_n", "per_atom", "standardized", "correlated")
TABLE = [
    "dataset", "n_structures", "n_families", "n_parameters",
    *(f"{name}{end}" for name in ("alpha_residual", "difference",
      *(f"best_p_{score}" for score in SCORES), *(f"multiplier_{loss}" for loss in LOSSES))
      for end in ("", "_low", "_high")),
]  # fmt: skip


@dataclass(frozen=True)
class Fits:
    """Scores of J weightings in R replicates, of which the first takes every family once."""

    table: pd.DataFrame

    def _curves(self, score: str) -> tuple[Array, Array]:
        """Return exponents (J) and scores (R, J) of the powers."""
        if score not in SCORES:
            raise wrong_value("linear fits", "score", score, SCORES)
        powers = self.table[self.table.exponent.notna()]
        values = powers[list(SCORES[score])].mean(axis=1)
        wide = powers.assign(value=values).pivot(
            index="replicate", columns="exponent", values="value"
        )
        return wide.columns.to_numpy(float), wide.to_numpy(float)

    def best(self, score: str) -> Array:
        """Return the best exponent p of each replicate, (R,)."""
        exponents, values = self._curves(score)
        return np.array([best_exponent(exponents, row) for row in values])

    @property
    def alpha(self) -> Array:
        """The exponent α of each replicate's errors, (R,)."""
        one = self.table[self.table.loss == "raw"].set_index("replicate").sort_index()
        return one.alpha_residual.to_numpy(float)

    def difference(self, score: str = "variance") -> Array:
        """Return best p − 2α of each replicate, (R,): 0 by Gauss and Markov."""
        return self.best(score) - 2 * self.alpha

    def log_multiplier(self, loss: str) -> Array:
        """Return the log of how many times the data of the best power a loss needs, (R,).

        The ratio of the variances of predictions, which fall as one over the number of structures.
        """
        _, values = self._curves("variance")
        own = self.table[self.table.loss == loss].set_index("replicate").log_variance
        return np.asarray(own.sort_index().to_numpy(float) - values.min(axis=1))

    def interval(self, values: Array, level: float = LEVEL) -> tuple[float, float, float]:
        """Return estimate and ends: the spread over replicates about the value of the first.

        Student's t with as many degrees of freedom as there are families beside one.

        Raises
        ------
        PeslossError
            When the first replicate, or one in twenty, leaves parameters undetermined.
        """
        if np.isnan(values[0]):
            n = int(self.table.n_parameters.iloc[0])
            raise PeslossError(f"halves of the structures do not determine {n} parameters")
        dof = max(int(self.table.n_families.iloc[0]) - 1, 1)
        return float(values[0]), *interval(float(values[0]), values[1:], level, dof)


def summarize(dataset: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return one row, ``TABLE``: best exponents, data multipliers and their 95 % intervals.

    They are NaN where the structures are too few to determine the parameters.

    Parameters
    ----------
    dataset
        Its name.
    table
        What ``pesloss.linear.fit.fit_linear`` returned.
    """
    try:
        found = _found(Fits(table))
    except PeslossError:
        found = {}
    row = {
        f"{name}{end}": value
        for name, values in found.items()
        for end, value in zip(("", "_low", "_high"), values, strict=True)
    }
    first = table.iloc[0]
    about = {name: first[name] for name in TABLE[1:4]}
    return pd.DataFrame([{"dataset": dataset, **about, **row}], columns=TABLE)


def _found(fits: Fits) -> dict[str, tuple[float, float, float]]:
    found = {"alpha_residual": fits.interval(fits.alpha)}
    found["difference"] = fits.interval(fits.difference())
    found |= {f"best_p_{score}": fits.interval(fits.best(score)) for score in SCORES}
    for loss in LOSSES:
        value, low, high = map(math.exp, fits.interval(fits.log_multiplier(loss)))
        found[f"multiplier_{loss}"] = (value, low, high)
    return found
