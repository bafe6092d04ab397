"""What the jobs of a results tree cost."""

from pathlib import Path

import pandas as pd

from pesloss.files import read_json
from pesloss.workflow import COST_SUFFIX


def cost_table(logs: Path) -> pd.DataFrame:
    """Add up the cost files below ``logs`` by rule.

    Returns
    -------
    DataFrame
        rule, n_jobs, seconds in all, seconds of the longest job, peak memory in MiB.
    """
    found = [read_json(path, ("rule", "seconds")) for path in sorted(logs.rglob(f"*{COST_SUFFIX}"))]
    jobs = pd.DataFrame(found, columns=["rule", "seconds", "peak_memory_mib"])
    table = jobs.groupby("rule").agg(
        n_jobs=("seconds", "count"),
        seconds=("seconds", "sum"),
        longest_seconds=("seconds", "max"),
        peak_memory_mib=("peak_memory_mib", "max"),
    )
    return table.sort_values("seconds", ascending=False).reset_index().round(1)
