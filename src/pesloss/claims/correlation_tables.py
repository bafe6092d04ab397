"""Tables of the correlation of local deviations, and of the exponents that follow from it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from pesloss.claims.correlation import MODELS, PRODUCT_COLUMNS, PairMoments
from pesloss.claims.measurement import Array, LabelData, Measurement, Sampling
from pesloss.claims.measures import predicted_exponent, predicted_label_exponent
from pesloss.claims.runs import comparisons
from pesloss.evaluation.results import read_run

LABELS = "labels"
MEASURED = "measured"
SERIES = ("dataset", "model", "series", "force_weight")
CORRELATION = (
    *SERIES, "phase", "quantity", "low", "high", "value", "ci_low", "ci_high", "n_pairs",
    "n_structures", "n_families",
)  # fmt: skip
EXPONENTS = (*SERIES, "which", "exponent", "ci_low", "ci_high", "n_structures", "n_seeds")
LEVEL = 0.95

Part = tuple[dict[str, Any], pd.DataFrame, list[pd.DataFrame], PairMoments]


def correlation_tables(
    labels: Sequence[Path],
    runs: Sequence[Path],
    n_resamples: int,
    watch: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> dict[str, pd.DataFrame]:
    """Tabulate labels and errors of trained models, each loss at its own best force weight.

    Parameters
    ----------
    labels
        Folders ``statistics/DATASET`` of the results.
    runs
        Folders of runs on these datasets.
    n_resamples
        Bootstrap replicates of an interval of an exponent.
    watch
        Wraps the loop over datasets and losses.

    Returns
    -------
    dict
        ``correlation``: by phase, the columns ``CORRELATION``; see `correlation_rows`.
        ``exponents``: columns ``EXPONENTS``, the measured exponent and that of each model of
        ``pesloss.claims.correlation``.
    """
    found = list(_parts({folder.name: LabelData.read(folder) for folder in labels}, runs))
    shells: list[Any] = []
    exponents: list[dict[str, Any]] = []
    for about, structures, products, moments in watch(found):
        table = correlation_rows(structures, moments, products)
        shells += table.assign(**about).to_dict("records")
        exponents += [{**about, **row} for row in _exponents(moments, n_resamples)]
    return {
        "correlation": pd.DataFrame(shells, columns=list(CORRELATION)),
        "exponents": pd.DataFrame(exponents, columns=list(EXPONENTS)),
    }


def _about(*values: Any) -> dict[str, Any]:
    return dict(zip(SERIES, values, strict=True))


def _parts(labels: dict[str, LabelData], runs: Sequence[Path]) -> Iterator[Part]:
    for name, data in labels.items():
        table = data.table(predicted_label_exponent.INPUTS[0], PRODUCT_COLUMNS)
        moments = predicted_label_exponent.moments_of(data)
        yield _about(name, "", LABELS, None), data.held_out, [table], moments
    results = sorted((read_run(folder) for folder in runs), key=lambda result: result.run)
    for name, group in groupby(results, lambda result: result.run.dataset):
        data = labels[name]
        for compared in comparisons(group, data.labels, data.statistics):
            for loss in compared.losses:
                weight = compared.best_weight(loss)
                about = _about(name, compared.model, loss, weight)
                products = [
                    result.table(predicted_exponent.RUN_INPUTS[0], PRODUCT_COLUMNS)
                    for result in compared.of(loss, weight)
                ]
                moments = predicted_exponent.moments_of(compared, loss, weight)
                yield about, compared.tested(), products, moments


def correlation_rows(
    structures: pd.DataFrame, moments: PairMoments, products: Sequence[pd.DataFrame]
) -> pd.DataFrame:
    """Measure the correlation of local deviations within structures, phase by phase.

    Deviations are from μ_z for labels and from the truth for errors, so that what all atoms of a
    phase or of a data set are off by is part of what they share, as in the energy itself.

    Parameters
    ----------
    structures
        K structures with structure, group and phase.
    moments
        Their squares and sizes.
    products
        For each seed the table of ``pair_products``.

    Returns
    -------
    DataFrame
        ``quantity`` is one of

        - ``correlation``: ``⟨δ_i δ_j⟩ / ⟨δ²⟩`` over the pairs of a shell;
        - ``shared``: the same over all pairs of different atoms, structures with equal weights:
          the mean square of the structures' means less the part that independent atoms have;
        - ``summed``: ``⟨(Σ_i δ_i)²⟩`` over that of independent atoms, ``Σ_i ⟨δ²⟩``; 1 without
          correlation, and otherwise 1 and the sum of the correlations over all shells.

        Intervals (95 %) treat members of a family as one observation, and ⟨δ²⟩ as known.
    """
    index = structures.reset_index(drop=True)
    table = pd.concat(products).merge(index[["structure", "group", "phase"]], on="structure")
    rows = []
    for phase, part in table.groupby("phase"):
        itself = part[part.high == 0]
        square = itself["product"].sum() / itself.n_pairs.sum()
        found = [
            {
                "quantity": "correlation",
                "low": low,
                "high": high,
                "n_pairs": int(shell.n_pairs.sum()) // len(products),
                **_ratio(shell["product"], square * shell.n_pairs, shell["group"]),
            }
            for (low, high), shell in part[part.high > 0].groupby(["low", "high"])
        ]
        mask = (index.phase == phase).to_numpy()
        found += _of_structures(moments.within(mask), square)
        about = {"phase": phase, "n_structures": int(mask.sum())}
        rows += [{**about, **row} for row in found]
    columns = [name for name in CORRELATION if name not in SERIES]
    return pd.DataFrame(rows, columns=columns)


def _of_structures(moments: PairMoments, square: float) -> list[dict[str, Any]]:
    """Return what is shared and the summed correlation, ⟨δ²⟩ being ``square``."""
    n = moments.n_atoms
    total = moments.product.sum(axis=2).mean(axis=0)
    others = total - moments.product[:, :, 0].mean(axis=0)
    several = n > 1
    shared = others[several] / (n * (n - 1))[several]
    return [
        {
            "quantity": "shared",
            **_ratio(shared, np.full(len(shared), square), moments.family[several]),
        },
        {"quantity": "summed", **_ratio(total, n * square, moments.family)},
    ]


def _ratio(above: Any, below: Any, family: Any) -> dict[str, Any]:
    """Return the ratio of two sums with its interval over families."""
    parts = {"above": np.asarray(above), "below": np.asarray(below), "family": np.asarray(family)}
    sums = pd.DataFrame(parts).groupby("family").sum()
    total, n = float(sums.below.sum()), len(sums)
    value = float(sums.above.sum()) / total if total else np.nan
    half = np.nan
    if n > 1 and total:
        residual = (sums.above - value * sums.below) / total
        half = student.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(n / (n - 1) * np.sum(residual**2))
    return {"value": value, "ci_low": value - half, "ci_high": value + half, "n_families": n}


def _exponents(moments: PairMoments, n_resamples: int) -> Iterator[dict[str, Any]]:
    """Yield measured and predicted exponents; NaN where too many resamples have none."""

    def of(which: str) -> Callable[[Array], Array]:
        if which == MEASURED:
            return moments.measured
        return lambda weights: moments.predicted(weights, which)

    for which in (MEASURED, *MODELS):
        sampling = Sampling(np.random.default_rng(0), n_resamples, LEVEL)
        found = sampling.interval(of(which), moments.family, len(moments.square))
        numbers: tuple[float, ...] = (np.nan,) * 3
        if isinstance(found, Measurement):
            numbers = (found.estimate, found.low, found.high)
        row = dict(zip(("exponent", "ci_low", "ci_high"), numbers, strict=True))
        about = {"n_structures": len(moments.family), "n_seeds": len(moments.square)}
        yield {"which": which, **row, **about}
