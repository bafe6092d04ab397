"""Join the verdicts of all ablations and correct them for their number."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pesloss.inference import adjust
from pesloss.job.files import read_table
from pesloss.spec.names import claim_number

FAMILY_LEVEL = 0.05
TEXTS = (
    "model", "loss", "group", "options", "must_be", "variant", "force_loss", "metric", "subject",
    "relation",
)  # fmt: skip


def collect_claims(paths: Sequence[Path | str]) -> pd.DataFrame:
    """Join tables that have a column ``claim``, in the order of the claims' numbers.

    Tables with p values get the column ``verdict_corrected`` of `corrected`.
    """
    tables = [table for table in (read_table(path, ("claim",)) for path in paths) if len(table)]
    joined = pd.concat(tables, ignore_index=True) if tables else read_table(paths[0], ("claim",))
    number = joined.claim.astype(str).map(claim_number)
    joined = joined.loc[number.sort_values(kind="stable").index].reset_index(drop=True)
    return corrected(joined) if "p_value" in joined else joined


def with_texts(claims: pd.DataFrame) -> pd.DataFrame:
    """Return measurements with empty texts where a CSV has nothing, in the columns of texts."""
    there = [name for name in TEXTS if name in claims]
    return claims.assign(**{name: claims[name].fillna("").astype(str) for name in there})


def with_corrected_verdicts(claims: pd.DataFrame) -> pd.DataFrame:
    """Return measurements with the corrected verdict in place of the plain one, where it is known.

    What people read counts these; controls, which have one right answer, keep theirs.
    """
    if "verdict_corrected" not in claims:
        return claims
    return claims.assign(verdict=claims.verdict_corrected.fillna(claims.verdict))


def corrected(claims: pd.DataFrame) -> pd.DataFrame:
    """Add the verdicts that hold for all measurements of a claim together.

    Parameters
    ----------
    claims
        Measurements with claim, verdict, must_be and p_value (`pesloss.claims.decide.p_value`).

    Returns
    -------
    DataFrame
        The same with ``verdict_corrected``: the verdict where it survives Holm's correction within
        the claim at 5 %, undecided where it does not. So the chance of one false verdict or more
        among all measurements of a claim is at most 5 %. Controls have one right answer, are no
        part of the family and keep their verdict.
    """
    tested = claims[claims.must_be.fillna("") == ""]
    p_values = tested.groupby("claim").p_value.transform(adjust)
    lost = (p_values > FAMILY_LEVEL).reindex(claims.index, fill_value=False)
    return claims.assign(verdict_corrected=claims.verdict.mask(lost, "undecided"))
