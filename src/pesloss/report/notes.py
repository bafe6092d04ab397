"""Notes of all jobs in one table: what a reader of results should know of data and fits."""

from pathlib import Path

import pandas as pd

from pesloss.job.script import NOTES
from pesloss.report.cost import jobs_before

COLUMNS = ["rule", "of", "note"]


def notes_table(logs: Path) -> pd.DataFrame:
    """Collect the notes that jobs left beside their logs below ``logs``.

    Returns
    -------
    DataFrame
        rule, of (the dataset or whatever else the job was about) and note, in the order of names.
    """
    rows = [
        (found["rule"], " ".join(map(str, found.get("wildcards", {}).values())), note)
        for found in jobs_before(logs)
        for note in found.get(NOTES, ())
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
