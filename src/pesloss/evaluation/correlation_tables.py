"""Tables of the correlation of local deviations, and of the exponents that follow from it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from pesloss.claims.correlation import MODELS, PRODUCT_COLUMNS, PairMoments
from pesloss.claims.job import read_run
from pesloss.claims.measurement import Array, LabelData, Measurement, Sampling
from pesloss.claims.runs import comparisons
from pesloss.claims.statistics import predicted_exponent, predicted_label_exponent

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
    shells: list[dict[str, Any]] = []
    exponents: list[dict[str, Any]] = []
    for about, structures, products, moments in watch(found):
        table = correlation_rows(structures, moments, products)
        shells += [{**about, **row} for row in table.to_dict("records")]
        exponents += [{**about, **row} for row in _exponents(moments, n_resamples)]
    return {
        "correlation": pd.DataFrame(shells, columns=list(CORRELATION)),
        "exponents": pd.DataFrame(exponents, columns=list(EXPONENTS)),
    }


def _parts(labels: dict[str, LabelData], runs: Sequence[Path]) -> Iterator[Part]:
    for name, data in labels.items():
        about = dict(zip(SERIES, (name, "", LABELS, None), strict=True))
        products = data.table(predicted_label_exponent.INPUTS[0], PRODUCT_COLUMNS)
        yield about, data.held_out, [products], predicted_label_exponent.moments_of(data)
    results = sorted((read_run(folder) for folder in runs), key=lambda result: result.run)
    for name, group in groupby(results, lambda result: result.run.dataset):
        data = labels[name]
        for compared in comparisons(group, data.labels, data.statistics):
            for loss in compared.losses:
                weight = compared.best_weight(loss)
                about = dict(zip(SERIES, (name, compared.model, loss, weight), strict=True))
                products = [
                    result.table(predicted_exponent.RUN_INPUTS[0], PRODUCT_COLUMNS)
                    for result in compared.of(loss, weight)
                ]
                moments = predicted_exponent.moments_of(compared, loss, weight)
                signed = compared.values(loss, weight, lambda t: t.energy_error).mean(axis=0)
                tested = compared.tested().assign(energy_deviation=signed)
                yield about, tested, products, moments


def correlation_rows(
    structures: pd.DataFrame, moments: PairMoments, products: Sequence[pd.DataFrame]
) -> pd.DataFrame:
    """Measure the correlation of local deviations within structures, phase by phase.

    Parameters
    ----------
    structures
        K structures with group, phase, n_atoms and ``energy_deviation`` in eV, its mean over
        seeds.
    moments
        Their squares.
    products
        For each seed the table of ``pair_products``.

    Returns
    -------
    DataFrame
        ``quantity`` is one of

        - ``correlation``: ``(⟨δ_i δ_j⟩ − m²) / (⟨δ²⟩ − m²)`` over the pairs of a shell, with m
          the mean of δ over all atoms of all phases;
        - ``shared``: the same over all pairs of different atoms, structures with equal weights:
          the variance between means of structures, less the part that independent atoms have;
        - ``summed``: the variance of ``Σ_i δ_i`` over that of independent atoms, 1 without
          correlation: one and the sum of the correlations over all shells.

        Intervals (95 %) treat members of a family as one observation, and m and ⟨δ²⟩ as known.
    """
    mean = float(structures.energy_deviation.sum() / structures.n_atoms.sum())
    pooled = pd.concat(products).groupby(["structure", "low", "high"], as_index=False)
    table = pooled[["n_pairs", "product"]].sum()
    index = structures.reset_index(drop=True)
    table = table.merge(index[["structure", "group", "phase"]], on="structure")
    square = pd.Series(moments.square.mean(axis=0), index=index.index)
    rows = []
    for phase, part in table.groupby("phase"):
        itself = part[part.high == 0]
        variance = itself["product"].sum() / itself.n_pairs.sum() - mean**2
        about = {"phase": phase, "n_structures": part.structure.nunique()}
        for (low, high), shell in part[part.high > 0].groupby(["low", "high"]):
            product, pairs = shell["product"] - mean**2 * shell.n_pairs, variance * shell.n_pairs
            where = {"quantity": "correlation", "low": low, "high": high}
            where |= {"n_pairs": int(shell.n_pairs.sum()) // len(products)}
            rows.append({**about, **where, **_ratio(product, pairs, shell["group"])})
        mask = index.phase == phase
        n, family = index.n_atoms[mask].astype(float), index["group"][mask]
        own = itself.set_index("structure")["product"].loc[index.structure[mask]].to_numpy()
        total, alone = square[mask], n * variance
        between = (total - own / len(products)) - mean**2 * n * (n - 1)
        several = n > 1
        share = between[several] / (n * (n - 1))[several]
        ones = pd.Series(variance, index=share.index)
        rows.append({**about, "quantity": "shared", **_ratio(share, ones, family[several])})
        summed = _ratio(total - (n * mean) ** 2, alone, family)
        rows.append({**about, "quantity": "summed", **summed})
    columns = [name for name in CORRELATION if name not in SERIES]
    return pd.DataFrame(rows, columns=columns)


def _ratio(above: "pd.Series[Any]", below: "pd.Series[Any]", family: "pd.Series[Any]") -> Any:
    """Return the ratio of two sums with its interval over families."""
    sums = pd.DataFrame({"above": above, "below": below}).groupby(family).sum()
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
        known = isinstance(found, Measurement)
        numbers = (found.estimate, found.low, found.high) if known else (np.nan,) * 3
        row = dict(zip(("exponent", "ci_low", "ci_high"), numbers, strict=True))
        about = {"n_structures": len(moments.family), "n_seeds": len(moments.square)}
        yield {"which": which, **row, **about}
