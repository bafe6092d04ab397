"""Exponents out of the table of claims."""

import pandas as pd

from pesloss.claims.collect import with_texts
from pesloss.report.exponents import usual_or_longer

COLUMNS = ["dataset", "model", "loss", "estimator", "estimate", "low", "high", "expected", "margin"]


def exponents(claims: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """Return energy exponents of whole datasets, each once, gamma regression unless said."""
    text = with_texts(claims)
    rows = text[(text.statistic == statistic) & (text.group == "")]
    rows = usual_or_longer(rows[~rows.options.str.contains("of=forces|by=")])
    line = rows.options.str.contains("estimator=line")
    rows = rows.assign(estimator=line.map({True: "line", False: "gamma"}))
    rows = rows.rename(columns={"ci_low": "low", "ci_high": "high"})
    rows = rows.sort_values("must_be", kind="stable")
    return rows.drop_duplicates(["dataset", "model", "loss", "estimator"])[COLUMNS]
