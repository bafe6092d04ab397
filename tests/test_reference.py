"""What is kept of a full run: all that must be there, and what newer runs add."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from pesloss.job.errors import PeslossError
from pesloss.job.files import write_json, write_text
from pesloss.report.assets import pack
from pesloss.report.reference import TABLES, WHERE_THERE, in_short, keep_reference


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with every table that must be there, a figure and a run."""
    folder = tmp_path / "results"
    for name in TABLES:
        write_text(folder / "tables" / name, f"{name}\n")
    write_text(folder / "figures" / "fronts.svg", "<svg/>")
    write_text(folder / "figures" / "capacity.png", "png")
    write_json(folder / "runs" / "a" / "record.json", {"commit": "abc123"})
    return folder


def test_tables_that_newer_runs_write_are_kept_where_they_are(
    results: Path, tmp_path: Path
) -> None:
    reference = tmp_path / "reference"
    keep_reference(results, reference)
    assert {path.name for path in (reference / "tables").iterdir()} == set(TABLES)
    for name in WHERE_THERE:
        write_text(results / "tables" / name, f"{name}\n")
    keep_reference(results, reference)
    kept = {
        path.name: path.read_text(encoding="utf-8") for path in (reference / "tables").iterdir()
    }
    assert kept == {name: f"{name}\n" for name in (*TABLES, *WHERE_THERE)}
    assert json.loads((reference / "origin.json").read_text(encoding="utf-8"))["n_runs"] == 1


def test_of_all_else_the_digests_are_kept(results: Path, tmp_path: Path) -> None:
    write_text(results / "tables" / "errors.csv.gz", "large")
    keep_reference(results, tmp_path / "reference")
    assert [p.name for p in (tmp_path / "reference" / "figures").iterdir()] == ["capacity.png"]
    origin = json.loads((tmp_path / "reference" / "origin.json").read_text(encoding="utf-8"))
    large = hashlib.sha256(b"large").hexdigest()
    assert origin["digests"]["tables/errors.csv.gz"] == large
    assert {"figures/fronts.svg", "tables/claims.csv"} < set(origin["digests"])


def test_the_archive_of_a_release_holds_all_and_is_repeatable(
    results: Path, tmp_path: Path
) -> None:
    with pytest.raises(PeslossError, match="claims: no such folder"):
        pack(results, tmp_path / "release.zip")
    for folder in ("claims", "report"):
        write_text(results / folder / "a.txt", folder)
    pack(results, tmp_path / "release.zip")
    before = (tmp_path / "release.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "release.zip") as packed:
        assert packed.read("results/report/a.txt") == b"report"
        assert len(packed.namelist()) == len(TABLES) + 4
    pack(results, tmp_path / "release.zip")
    assert (tmp_path / "release.zip").read_bytes() == before


def test_a_missing_table_is_named(results: Path, tmp_path: Path) -> None:
    (results / "tables" / "claims.csv").unlink()
    with pytest.raises(PeslossError, match=r"claims\.csv: no such file"):
        keep_reference(results, tmp_path / "reference")
    assert not (tmp_path / "reference").exists()


def test_runs_of_files_that_no_commit_holds_are_refused(results: Path, tmp_path: Path) -> None:
    write_json(results / "runs" / "b" / "record.json", {"commit": "abc123+changes"})
    with pytest.raises(PeslossError, match=r"commit is 'abc123\+changes'"):
        keep_reference(results, tmp_path / "reference")


def test_the_first_section_of_the_guide_stands_alone(tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    assert in_short(guide) == ""
    first = "Take one of two.\n\n| loss | score |\n|---|---|\n| a | 1 |\n\n#### Not a section"
    for text in (
        f"# Guide\n\n### In short\n\n{first}\n\n### Which loss\n\nAll.\n\n### More\n\nMore.\n",
        f"### In short\n{first}\n",
    ):
        write_text(guide, text)
        assert in_short(guide) == first
    write_text(guide, "### Which loss\n\nAll of it.\n")
    assert in_short(guide) == ""
