"""Keep the results of a full run as results/reference/ and write the README's tables from them."""

import shutil
import sys
from pathlib import Path

from pesloss import provenance
from pesloss.errors import PeslossError
from pesloss.files import read_json, read_table, write_json, write_text
from pesloss.headline import exponent_table
from pesloss.overview import claim_table, data_table
from pesloss.report import run_times, splice

TABLES = (
    "claims.csv", "controls.csv", "left_out.csv", "cost.csv", "statistics.csv", "runs.csv",
    "group_errors.csv", "species_errors.csv", "verdicts.md", "datasets.csv",
)  # fmt: skip
WHERE_THERE = (
    "guide.md", "claim_cost.csv", "training_rates.csv", "best_exponent.csv", "efficiency.csv",
    "weight_transfer.csv", "regret.csv", "correlation.csv", "predicted_exponents.csv",
)  # fmt: skip


def keep_reference(results: Path, reference: Path, preset: str = "default") -> None:
    """Copy tables and figures of a finished run, with the commits and the preset they came from.

    Raises
    ------
    PeslossError
        When a table is missing, or a run was trained from files that no commit holds.
    """
    for name in TABLES:
        if not (results / "tables" / name).is_file():
            raise PeslossError(
                f"{results / 'tables' / name}: no such file; run make reproduce first"
            )
    records = [read_json(path, ("commit",)) for path in sorted(results.glob("runs/**/record.json"))]
    commits = sorted({record["commit"] for record in records})
    unknown = [commit for commit in commits if not commit.isalnum()]
    if unknown:
        raise PeslossError(
            f"{results}: commit is {unknown[0]!r}; allowed: runs of a clean checkout"
        )
    commit = provenance.commit()  # before the files of the reference themselves change
    for folder in ("tables", "figures"):
        shutil.rmtree(reference / folder, ignore_errors=True)
    (reference / "tables").mkdir(parents=True)
    for name in (*TABLES, *WHERE_THERE):
        if name in TABLES or (results / "tables" / name).is_file():
            shutil.copy(results / "tables" / name, reference / "tables" / name)
    shutil.copytree(results / "figures", reference / "figures")
    origin = {
        "preset": preset,
        "commits_of_runs": commits,
        "commit_of_tables": commit,
        "n_runs": len(records),
        "versions": provenance.versions(),
    }
    write_json(reference / "origin.json", origin)


def readme_with_tables(readme: str, reference: Path) -> str:
    """Return the README with its generated blocks made anew from ``reference``."""
    verdicts = (reference / "tables" / "verdicts.md").read_text(encoding="utf-8")
    origin = read_json(reference / "origin.json", ("preset", "commits_of_runs", "n_runs"))
    commits = ", ".join(f"`{commit[:10]}`" for commit in origin["commits_of_runs"])
    source = f"From preset `{origin['preset']}`: {origin['n_runs']} trainings at commit {commits}."
    tables = reference / "tables"
    found = tables / "best_exponent.csv"
    best = read_table(found, ("dataset", "best_p_variance")) if found.is_file() else None
    claims = read_table(tables / "claims.csv", ("claim",))
    datasets = read_table(tables / "datasets.csv", ("dataset", "matter"))
    exponents = exponent_table(claims, best)
    cost = run_times(read_table(tables / "cost.csv", ("rule", "seconds")))
    blocks = {"exponents": exponents, "verdicts": verdicts, "origin": source, "cost": cost}
    blocks |= {"claims": claim_table(claims, datasets), "data": data_table(datasets)}
    blocks["guide"] = in_short(tables / "guide.md")
    for name, block in blocks.items():
        readme = splice(readme, name, block)
    return readme


def in_short(guide: Path) -> str:
    """Return the first section of the guide without its heading; nothing where there is none."""
    if not guide.is_file():
        return ""
    _, _, text = guide.read_text(encoding="utf-8").partition("### In short\n")
    return text.partition("\n### ")[0].strip()


def main() -> int:
    """Run ``keep_reference`` in the working folder and rewrite README.md."""
    try:
        keep_reference(Path("results"), Path("results/reference"))
        readme = Path("README.md")
        text = readme.read_text(encoding="utf-8")
        write_text(readme, readme_with_tables(text, Path("results/reference")))
    except PeslossError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
