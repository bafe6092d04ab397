"""Keep the results of a full run as results/reference/ and write the README's tables from them."""

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pesloss.job import provenance
from pesloss.job.errors import PeslossError
from pesloss.job.files import (
    is_scratch,
    read_json,
    read_table,
    sha256,
    write_json,
    write_text,
)
from pesloss.job.surroundings import SCRATCH, run, writing
from pesloss.report.exponents import primary_table
from pesloss.report.glance import answered, answers
from pesloss.report.verdicts import splice
from pesloss.report.wording import called
from pesloss.spec.config_files import read_names

TABLES = (
    "claims.csv", "controls.csv", "left_out.csv", "cost.csv", "statistics.csv", "runs.csv",
    "verdicts.md", "datasets.csv",
)  # fmt: skip
WHERE_THERE = (
    "guide.md", "advice.csv", "carried_weight.csv", "claim_cost.csv", "training_rates.csv",
    "best_exponent.csv", "efficiency.csv", "weight_transfer.csv", "regret.csv", "correlation.csv",
    "predicted_exponents.csv",
)  # fmt: skip

FIGURES = ("label_against_error", "best_exponent", "best_weights", "capacity")
"""Whose PNG is kept; of all else the digests are."""


def keep_reference(results: Path, reference: Path, preset: str = "default") -> None:
    """Copy small tables and primary figures of a finished run, and say what they came from.

    ``origin.json`` holds the preset, the commits, and the SHA-256 of every table and figure of the
    run, also of those that are not kept (`pesloss.report.assets` packs them all).

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
    unknown = [commit for commit in commits if not commit.isalnum() or commit == "unknown"]
    if unknown:
        raise PeslossError(
            f"{results}: commit is {unknown[0]!r}; allowed: runs of a clean checkout"
        )
    commit = provenance.commit()  # before the files of the reference themselves change
    with writing(reference):
        _replace_folders(results, reference)
    origin = {
        "preset": preset,
        "commits_of_runs": commits,
        "commit_of_tables": commit,
        "n_runs": len(records),
        "versions": provenance.versions(),
        "digests": digests(results),
    }
    write_json(reference / "origin.json", origin)


def digests(results: Path) -> dict[str, str]:
    """Return the SHA-256 of every table and figure of a run, by their paths in the results."""
    paths = [path for folder in ("figures", "tables") for path in (results / folder).rglob("*")]
    files = sorted(path for path in paths if path.is_file() and not is_scratch(path))
    return {path.relative_to(results).as_posix(): sha256(path) for path in files}


def _replace_folders(results: Path, reference: Path) -> None:
    """Copy aside, then rename: the old reference stays until the new one is whole."""
    for left in reference.glob(f"{SCRATCH}*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    reference.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=reference, prefix=SCRATCH) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        (new / "tables").mkdir(parents=True)
        old.mkdir()
        for name in (*TABLES, *WHERE_THERE):
            if name in TABLES or (results / "tables" / name).is_file():
                shutil.copy(results / "tables" / name, new / "tables" / name)
        (new / "figures").mkdir()
        for name in FIGURES:
            if (results / "figures" / f"{name}.png").is_file():
                shutil.copy(results / "figures" / f"{name}.png", new / "figures")
        for folder in new.iterdir():
            if (reference / folder.name).exists():
                (reference / folder.name).rename(old / folder.name)
            folder.rename(reference / folder.name)


def readme_with_tables(readme: str, reference: Path) -> str:
    """Return the README with its generated blocks made anew from ``reference``."""
    origin = read_json(reference / "origin.json", ("preset", "commits_of_runs", "n_runs"))
    tables = reference / "tables"
    found = tables / "best_exponent.csv"
    best = read_table(found, ("dataset", "best_p_variance")) if found.is_file() else None
    claims = read_table(tables / "claims.csv", ("claim",))
    datasets = read_table(tables / "datasets.csv", ("dataset", "matter"))
    blocks = {
        "answers": answered(
            answers(claims, datasets, in_short(tables / "guide.md"), origin["n_runs"])
        ),
        "exponents": primary_table(claims, datasets, best),
        "origin": source_line(origin),
    }
    for name, block in blocks.items():
        readme = splice(readme, name, block)
    return readme


def source_line(origin: Mapping[str, Any]) -> str:
    """Say what a reference was made from, from its ``origin.json``."""
    commits = ", ".join(f"`{commit[:10]}`" for commit in origin["commits_of_runs"])
    return f"From preset `{origin['preset']}`: {origin['n_runs']} trainings at commit {commits}."


def in_short(guide: Path) -> str:
    """Return the first section of the guide without its heading; nothing where there is none."""
    if not guide.is_file():
        return ""
    _, _, text = guide.read_text(encoding="utf-8").partition("### In short\n")
    return text.partition("\n### ")[0].strip()


def main() -> int:
    """Run ``keep_reference`` in the working folder and rewrite README.md."""
    return run("reference", _keep_and_splice)


def _keep_and_splice() -> None:
    keep_reference(Path("results"), Path("results/reference"))
    readme = Path("README.md")
    text = readme.read_text(encoding="utf-8")
    with called(read_names(Path("config"))):
        write_text(readme, readme_with_tables(text, Path("results/reference")))


if __name__ == "__main__":
    sys.exit(main())
