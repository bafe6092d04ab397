"""How often intervals cover the truth and verdicts are wrong, on errors whose law is known.

`python -m pesloss.benchmarks.intervals FOLDER` writes ``inference_calibration.csv``.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from pesloss.inference.exponent import exponent_of, fit_exponent
from pesloss.inference.intervals import two_level_interval
from pesloss.inference.paired import mean_over_seeds, seed_means
from pesloss.inference.verdict import Answer, Relation, decide
from pesloss.job.files import write_table

Array = NDArray[np.float64]
Tails = Literal["normal", "student t5", "heavy"]

SIZES = np.unique(np.round(np.geomspace(2, 128, 12)))
SHARES = (0.5, 0.35, 0.15)  # of variance: family, structure, structure under one seed
HEAVY = 0.62  # spread of the logarithm of a family's scale; kurtosis 3 exp(4 · 0.62²) = 14
BAND = (0.93, 0.97)
LARGEST_FALSE = 0.05
MARGINS = {"error_exponent": 0.1, "paired_difference": 0.095}


@dataclass(frozen=True)
class Design:
    """A simulated study.

    Attributes
    ----------
    statistic
        ``error_exponent``: gamma regression, truth near ½. ``paired_difference``: log RMSE ratio
        of two losses on the same seeds and structures, averaged over seeds, truth 0.
    n_structures, n_families
        Test structures in families of equal number and size.
    n_seeds
        Trained models (of each loss) that share the structures.
    seed_std
        Spread over seeds of the exponent and of the logarithm of the error. Seen in trainings:
        0.01 to 0.1, and 0.4 for the small set of molecular dimers.
    tails
        Law of the errors: normal; Student's t with five degrees of freedom; ``heavy``, a normal
        variable whose scale is lognormal with kurtosis 14, the largest seen in trained models.
        The scale belongs to the family, so that a family is an outlier as a whole.
    """

    statistic: Literal["error_exponent", "paired_difference"]
    n_structures: int
    n_families: int
    n_seeds: int
    seed_std: float
    tails: Tails

    @property
    def families(self) -> NDArray[np.int64]:
        """Family of each structure, (K,)."""
        return np.arange(self.n_structures) * self.n_families // self.n_structures

    @property
    def sizes(self) -> Array:
        """Number of atoms of each structure, (K,): 2 to 128, evenly spaced in the logarithm."""
        return np.asarray(SIZES[self.families % len(SIZES)])

    @property
    def truth(self) -> float:
        """Value of the statistic on infinitely many structures and seeds of these sizes."""
        if self.statistic == "paired_difference":
            return 0.0
        spread = np.exp(2 * (self.seed_std * self._centred) ** 2)
        return fit_exponent(self.sizes, self.sizes * spread)

    @property
    def _centred(self) -> Array:
        return np.asarray(np.log(self.sizes) - np.log(self.sizes).mean())

    def draw(self, rng: np.random.Generator) -> Array:
        """Errors, (losses, n_seeds, K), with the exponent ½.

        Losses share the error of the family and of the structure, and nothing else.
        """
        n_losses = 1 if self.statistic == "error_exponent" else 2
        family, structure, own = (np.sqrt(share) for share in SHARES)
        shape = (n_losses, self.n_seeds, self.n_structures)
        error = family * rng.standard_normal(self.n_families)[self.families]
        error = error + structure * rng.standard_normal(self.n_structures)
        error = error + own * rng.standard_normal(shape)
        scale = family_scale(self.tails, self.n_families, rng)[self.families]
        tilt, level = self.seed_std * rng.standard_normal((2, n_losses, self.n_seeds, 1))
        growth = np.exp(tilt * self._centred + level)
        return np.asarray(np.sqrt(self.sizes) * scale * growth * error)

    def value(self, errors: Array) -> Callable[[Array], Array]:
        """Return the statistic of weights (B, n_seeds, n_families), on errors from `draw`.

        Families are equally large and their members have one size, so means over the family say
        all that its structures do.
        """
        squares = (errors**2).reshape(*errors.shape[:2], self.n_families, -1).mean(axis=3)
        if self.statistic == "error_exponent":
            each = self.sizes[:: self.n_structures // self.n_families]
            sizes, flat = np.tile(each, self.n_seeds), squares.ravel()
            return lambda weights: exponent_of(sizes, flat, weights.reshape(len(weights), -1))
        one, other = squares

        def log_ratio(weights: Array) -> Array:
            ratio = seed_means(one, weights) / seed_means(other, weights)
            return mean_over_seeds(0.5 * np.log(ratio), weights)

        return log_ratio


def family_scale(tails: Tails, n: int, rng: np.random.Generator) -> Array:
    """Return (n,) scales with mean square 1 that give normal errors the wanted tails."""
    if tails == "student t5":
        return np.asarray(np.sqrt(3 / rng.chisquare(5, n)))
    spread = HEAVY if tails == "heavy" else 0.0
    return np.asarray(np.exp(spread * rng.standard_normal(n) - spread**2))


def simulate(
    design: Design,
    rng: np.random.Generator,
    n_replicates: int = 2000,
    n_resamples: int = 200,
    level: float = 0.95,
) -> Array:
    """Return intervals less the truth: (n_replicates, 3) estimate, low, high.

    Both statistics move with their truth without any other change (a factor ``N^c`` in the errors
    adds c to an exponent, a factor in one loss adds its logarithm), so these intervals serve for
    every true value.
    """
    truth, found = design.truth, np.empty((n_replicates, 3))
    for row in found:
        statistic = design.value(design.draw(rng))
        families = np.arange(design.n_families)
        row[:] = two_level_interval(statistic, families, design.n_seeds, rng, n_resamples, level)
    return found - truth


def rate(
    intervals: Array, offset: float, margin: float, relation: Relation, answer: Answer
) -> float:
    """Return the share of ``answer`` when the truth lies ``offset`` from the expected value."""
    rows: list[list[float]] = (intervals + offset).tolist()
    answers = [
        decide(estimate, low, high, 0.0, margin, relation).answer for estimate, low, high in rows
    ]
    return float(np.mean([found == answer for found in answers]))


def summary(design: Design, intervals: Array, n_resamples: int) -> dict[str, object]:
    """Return a row of the table: coverage, false verdicts at the margin's edge, and power.

    ``false_equals`` and ``false_one_sided`` are the larger of the two edges or directions. Power
    is that of ``equals`` to support when the truth is the expected value and to contradict three
    or five margins away, and of ``greater`` to support three margins above.
    """
    margin, n = MARGINS[design.statistic], len(intervals)
    hits = int(((intervals[:, 1] <= 0) & (intervals[:, 2] >= 0)).sum())
    low, high = proportion_confint(hits, n, method="beta")
    edges = [rate(intervals, edge, margin, "equals", "supported") for edge in (-margin, margin)]
    sides: list[tuple[float, Relation]] = [(margin, "greater"), (-margin, "less")]
    false = max(edges), max(rate(intervals, at, margin, side, "supported") for at, side in sides)
    away = {k: rate(intervals, k * margin, margin, "equals", "contradicted") for k in (3, 5)}
    return {
        **asdict(design),
        "n_replicates": n,
        "n_resamples": n_resamples,
        "median_half_width": float(np.median(intervals[:, 2] - intervals[:, 1]) / 2),
        "coverage": hits / n,
        "coverage_low": float(low),
        "coverage_high": float(high),
        "margin": margin,
        "false_equals": false[0],
        "false_one_sided": false[1],
        "power_support": rate(intervals, 0.0, margin, "equals", "supported"),
        "power_contradict_3_margins": away[3],
        "power_contradict_5_margins": away[5],
        "power_one_sided_3_margins": rate(intervals, 3 * margin, margin, "greater", "supported"),
        "holds": BAND[0] <= hits / n <= BAND[1] and max(false) < LARGEST_FALSE,
    }


def designs() -> list[Design]:
    """Return the designs of the table.

    Small studies (200 structures in 100 families) with 2, 3 and 5 seeds, seeds that differ much,
    labels (one seed), and studies of the default size (400 structures, 3 seeds and the default 5).
    """
    tails: tuple[Tails, ...] = ("normal", "student t5", "heavy")
    found = []
    statistics: tuple[Literal["error_exponent", "paired_difference"], ...]
    statistics = ("error_exponent", "paired_difference")
    for statistic in statistics:
        small = [(200, 100, n_seeds, 0.05) for n_seeds in (2, 3, 5)]
        for sizes in [*small, (400, 200, 3, 0.05)]:
            found += [Design(statistic, *sizes, law) for law in tails]
        found += [Design(statistic, 200, 100, n_seeds, 0.2, "normal") for n_seeds in (2, 3, 5)]
        found += [Design(statistic, 200, 100, 3, 0.0, "normal")]
    found += [Design("error_exponent", 600, 600, 1, 0.0, law) for law in tails]
    found += [
        Design(statistic, 400, 200, 5, 0.05, law) for statistic in statistics for law in tails
    ]
    return found


def calibrate(
    chosen: Iterable[Design], seed: int = 0, n_replicates: int = 2000, n_resamples: int = 200
) -> pd.DataFrame:
    """Return the table of calibration, one row a design; each has its own stream of numbers."""
    rows = []
    for place, design in enumerate(chosen):
        rng = np.random.default_rng([seed, place])
        rows.append(summary(design, simulate(design, rng, n_replicates, n_resamples), n_resamples))
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write ``inference_calibration.csv`` into a folder."""
    folder = Path((sys.argv[1:] if arguments is None else arguments)[0])
    write_table(folder / "inference_calibration.csv", calibrate(designs()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
