"""The README says what the reference results say."""

import re
from pathlib import Path

import pytest

from pesloss.job.files import read_table
from pesloss.report.reference import readme_with_tables
from pesloss.report.verdicts import verdict_table

pytestmark = pytest.mark.usefixtures("titled")

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference"


def test_readme_tables_are_those_of_the_reference() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_with_tables(readme, REFERENCE) == readme


def test_verdicts_of_the_reference_follow_from_its_claims() -> None:
    claims = read_table(REFERENCE / "tables" / "claims.csv")
    kept = (REFERENCE / "tables" / "verdicts.md").read_text(encoding="utf-8")
    assert verdict_table(claims) == kept


def test_files_and_targets_the_readme_names_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?<![a-z])make ([a-z-]+)", readme)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", readme):
        assert (ROOT / link).exists(), link
