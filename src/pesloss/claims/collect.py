"""Join the verdicts of all ablations."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pesloss.files import read_table


def collect_claims(paths: Sequence[Path | str]) -> pd.DataFrame:
    """Join tables that have a column ``claim``, in the order of the claims' numbers."""
    tables = [table for table in (read_table(path, ("claim",)) for path in paths) if len(table)]
    joined = pd.concat(tables, ignore_index=True) if tables else read_table(paths[0], ("claim",))
    number = joined.claim.astype(str).str.removeprefix("C").astype(int)
    return joined.loc[number.sort_values(kind="stable").index].reset_index(drop=True)
