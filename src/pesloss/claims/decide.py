"""From measurements to verdicts: one row a claim, dataset, model and loss (science.md §5)."""

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims import measures as statistics
from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.runs import Comparison, Study
from pesloss.inference import Estimate, decide, distance_to_edge, seeds_to_decide
from pesloss.job.errors import PeslossError
from pesloss.spec.config import Ablation, Claim

COLUMNS = [
    "claim", "dataset", "model", "loss", "statistic", "estimate", "ci_low", "ci_high", "expected",
    "margin", "verdict", "n_structures", "n_seeds", "ablation", "subject", "group", "options",
    "relation", "level", "force_weight", "force_loss", "metric", "variant", "seeds_to_decide",
    "must_be", "p_value",
]  # fmt: skip
NOT_MEASURABLE = "not_measurable"
LEFT_OUT_COLUMNS = ["ablation", "claim", "dataset", "model", "statistic", "reason"]


def decide_ablation(
    name: str,
    ablation: Ablation,
    labels: Mapping[str, LabelData],
    compared: Iterable[Comparison],
    n_resamples: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decide every claim of an ablation on all its data.

    Parameters
    ----------
    name, ablation
        The ablation.
    labels
        Labels by dataset.
    compared
        Its runs, in groups that may be compared.
    n_resamples
        Bootstrap replicates of an interval.

    Returns
    -------
    rows
        ``COLUMNS``: one row a measurement, with its verdict; a control whose statistic has to
        refuse the data, and does, has a row without numbers.
    left_out
        ``LEFT_OUT_COLUMNS``: claims that have no meaning on some data, and why.

    Raises
    ------
    PeslossError
        When runs that may not be compared are, or a control has no meaning on its data or none of
        the groups it is about.
    """
    compared = list(compared)
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for claim in statistics.claims_of(ablation, name):
        module = statistics.load(claim.statistic, name)
        for data in _subjects(module.SCOPE, labels, compared):
            described = _described(name, claim, data, module)
            sampling = Sampling(_generator(name, claim, data.dataset), n_resamples, claim.level)
            for found in _measured(module, claim, data, sampling):
                if isinstance(found, Measurement):
                    rows.append({**described, **_decided(claim, found), **_variant(data, found)})
                elif claim.must_be == NOT_MEASURABLE:
                    rows.append({**described, "verdict": NOT_MEASURABLE})
                else:
                    left_out.append({**described, "reason": str(found)})
    controls = [row for row in left_out if row["must_be"]]
    if controls:
        row = controls[0]
        about = f"{row['claim']} {row['statistic']} of {row['dataset']}"
        raise PeslossError(f"{name}: control {about}: {row['reason']}")
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(left_out, columns=LEFT_OUT_COLUMNS)


def _subjects(
    scope: str, labels: Mapping[str, LabelData], compared: list[Comparison]
) -> Iterable[LabelData | Comparison | Study]:
    if scope == "ablation":
        return [Study(labels, tuple(compared))]
    return labels.values() if scope == "labels" else compared


def _generator(ablation: str, claim: Claim, dataset: str) -> np.random.Generator:
    text = f"{ablation} {claim.statistic} {sorted(claim.options.items())} {dataset}"
    return np.random.default_rng(zlib.crc32(text.encode()))


def _measured(
    module: Any, claim: Claim, data: LabelData | Comparison | Study, sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield what the claim is about, and what of it has no meaning on the data."""
    groups, n_found = set(), 0
    try:
        for found in module.measure(data, claim.options, sampling):
            if isinstance(found, NotMeasurable) or _is_about(claim, found):
                n_found += 1
                groups |= {found.group} if isinstance(found, Measurement) else set()
                yield found
    except NotMeasurable as reason:
        yield reason
        return
    for missing in sorted(set(claim.groups or ()) - groups):
        yield NotMeasurable(f"no group {missing!r}")
    if claim.must_be and not n_found and not claim.groups:
        yield NotMeasurable("nothing was measured")


def _is_about(claim: Claim, found: Measurement) -> bool:
    of_loss = not claim.losses or found.loss.split("+")[0] in claim.losses
    return of_loss and (claim.groups is None or found.group in claim.groups)


def _described(
    name: str, claim: Claim, data: LabelData | Comparison | Study, module: Any
) -> dict[str, Any]:
    about: dict[str, Any] = {"model": "", "force_loss": "", "metric": "", "variant": ""}
    if isinstance(data, Comparison):
        about = {key: getattr(data, key) for key in about}
    usual = "labels" if isinstance(data, LabelData) else "errors"
    return {
        "claim": claim.claim,
        "dataset": data.dataset,
        **about,
        "statistic": claim.statistic,
        "ablation": name,
        "subject": getattr(module, "SUBJECT", usual),
        "options": " ".join(f"{key}={value}" for key, value in claim.options.items()),
        "relation": claim.relation,
        "expected": claim.expected,
        "margin": claim.margin,
        "level": claim.level,
        "must_be": claim.must_be or "",
    }


def _decided(claim: Claim, found: Measurement) -> dict[str, Any]:
    numbers = (found.estimate, found.low, found.high, claim.expected, claim.margin)
    verdict = decide(*numbers, claim.relation)
    return {
        **({"dataset": found.dataset} if found.dataset else {}),
        **({"model": found.model} if found.model else {}),
        "loss": found.loss,
        "group": found.group,
        "force_weight": found.force_weight,
        "estimate": found.estimate,
        "ci_low": found.low,
        "ci_high": found.high,
        "verdict": verdict.answer,
        "n_structures": found.n_structures,
        "n_seeds": found.n_seeds,
        "seeds_to_decide": seeds_to_decide(*numbers, claim.relation, n_seeds=found.n_seeds),
        "p_value": p_value(claim, found),
    }


def _variant(data: LabelData | Comparison | Study, found: Measurement) -> dict[str, str]:
    return {"variant": data.variant_of(found.loss)} if isinstance(data, Comparison) else {}


def p_value(claim: Claim, found: Measurement) -> float:
    """Return the p value of the verdict that the estimate leans to.

    Twice the one-sided p at the nearest edge of the margin: p ≤ 1 − level where the claim is
    decided, one of the two directions being false (Holm's correction then holds for directions
    too; Shaffer, Ann. Stat. 8, 1342, 1980). It inverts the interval itself, with its quantiles of
    Student's t for families and seeds. A measurement that says nothing of how its interval was
    made is taken as normal, with the standard error that the interval has at its level: too small
    a p where a few seeds made it wide, since normal tails are shorter than those of t.

    Returns
    -------
    float
        In [0, 1]; 1 for an interval that is not finite.
    """
    gap = distance_to_edge(found.estimate, claim.expected, claim.margin, claim.relation)
    width = found.high - found.low
    if not (math.isfinite(gap) and math.isfinite(width)):
        return 1.0
    if found.uncertainty is not None:
        return found.uncertainty.p_value(gap)
    unit = Estimate(found.estimate, 1.0)
    return Estimate(found.estimate, (width / 2 / unit.half_width(claim.level)) ** 2).p_value(gap)


def check_controls(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the controls, or say which came out wrong.

    Raises
    ------
    PeslossError
        Naming every control whose verdict is not the one it must reach.
    """
    controls = claims[claims.must_be.fillna("") != ""]
    wrong = controls[controls.verdict != controls.must_be]
    if len(wrong):
        lines = [
            f"{row.ablation}: {row.claim} {row.statistic} of {row.dataset} {row.loss} is "
            f"{row.verdict} ({row.estimate:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]); "
            f"allowed: {row.must_be}"
            for row in wrong.fillna("").itertuples()
        ]
        raise PeslossError("controls came out wrong: " + "; ".join(lines))
    return controls
