"""What the report is made from, as far as a plan has to know; the rest loads what it needs."""

from pathlib import Path

from pesloss.job.code_digest import relative

TEMPLATES = Path(__file__).parent
TABLES = (
    "claims.csv", "controls.csv", "left_out.csv", "runs.csv", "statistics.csv", "cost.csv",
    "claim_cost.csv", "records.csv", "datasets.csv", "advice.csv", "carried_weight.csv",
)  # fmt: skip


def page_files() -> list[str]:
    """Return the templates, for Snakemake to watch."""
    paths = [path for suffix in ("html", "css") for path in TEMPLATES.glob(f"*.{suffix}")]
    return sorted(relative(path) for path in paths)
