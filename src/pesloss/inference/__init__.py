"""Exponents, intervals and verdicts: how a claim is decided (science.md §5)."""

from pesloss.inference.bootstrap import resample_weights
from pesloss.inference.comparisons import adjust
from pesloss.inference.exponent import (
    exponent_of,
    exponent_of_sums,
    fit_exponent,
    line_exponent_of,
    slope,
)
from pesloss.inference.intervals import (
    Estimate,
    effective_dof,
    interval,
    two_level_estimate,
    two_level_interval,
)
from pesloss.inference.paired import (
    mean_over_seeds,
    seed_means,
)
from pesloss.inference.verdict import Verdict, decide, distance_to_edge, seeds_to_decide

__all__ = [
    "Estimate",
    "Verdict",
    "adjust",
    "decide",
    "distance_to_edge",
    "effective_dof",
    "exponent_of",
    "exponent_of_sums",
    "fit_exponent",
    "interval",
    "line_exponent_of",
    "mean_over_seeds",
    "resample_weights",
    "seed_means",
    "seeds_to_decide",
    "slope",
    "two_level_estimate",
    "two_level_interval",
]
