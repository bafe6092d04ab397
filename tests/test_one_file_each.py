"""One of each thing is added as one file, nothing else is edited, and the workflow shows it."""

import hashlib
import html
import shutil
from pathlib import Path

import pandas as pd
import pytest
from test_workflow import COPIED, ROOT, SMOKE, edit, planned, snakemake

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
ABLATION = """\
question: Are energies of diamonds as often above their mean as below?
datasets: [diamonds]
runs:
  energy_losses: [raw, three_halves, standardized]
claims:
  - {claim: Q6, statistic: share_above}
  - {claim: C7, statistic: error_exponent, losses: [three_halves]}
"""


def example(name: str) -> str:
    """The example of that name in the documentation."""
    return PAGE.split(f"<!-- example: {name} -->\n```")[1].split("```")[0].partition("\n")[2]


ADDED = {
    "config/claims/Q6.yaml": example("claim"),
    "config/datasets/diamonds.yaml": example("dataset"),
    "config/ablations/diamonds.yaml": ABLATION,
    "src/pesloss/losses/energy/three_halves.py": example("loss"),
    "src/pesloss/claims/measures/share_above.py": example("statistic"),
    "src/pesloss/report/figures/mean_by_size.py": example("figure"),
}
TITLES = (
    "Q6 whether as many energies lie above the mean as below",
    "diamond crystals",
    "Are energies of diamonds as often above their mean as below?",
    "1/N^1.5",
    "share above the mean",
    "A normal variable lies above its mean as often as below; a tenth of all may be elsewhere.",
    "Mean standardized energy by size",
    "Mean E′ of each size group; 0 where means were fitted well.",
)
RETITLED = (
    ("config/claims/Q6.yaml", "as many energies", "as many labels"),
    ("src/pesloss/losses/energy/three_halves.py", "1/N^1.5", "p = 1.5"),
    ("src/pesloss/claims/measures/share_above.py", "share above the mean", "share above 0"),
    ("src/pesloss/claims/measures/share_above.py", "A normal variable", "A variable"),
    ("src/pesloss/report/figures/mean_by_size.py", "Mean standardized", "Average"),
    ("config/datasets/diamonds.yaml", "diamond crystals", "diamonds"),
    ("config/models/schnet.yaml", "SchNet", "A SchNet"),
)
SHOWING = {"draw_figure", "write_verdicts", "write_guide", "write_report", "tabulate_cost"}


def digests(project: Path) -> dict[str, str]:
    """The content of every file of the project but its results."""
    return {
        str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in COPIED
        for path in [project / name, *(project / name).rglob("*")]
        if path.is_file()
    }


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without its own ablations, datasets and figures, with one of each added; run."""
    project = tmp_path_factory.mktemp("extended")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, project / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, project / name)
    for kind in ("config/ablations/*", "config/datasets/*", "src/pesloss/report/figures/[a-z]*"):
        for path in project.glob(kind):
            path.unlink()
    before = digests(project)
    for name, text in ADDED.items():
        assert not (project / name).exists()
        (project / name).write_text(text, encoding="utf-8")
    snakemake(project, *SMOKE)
    after = digests(project)
    assert {name: digest for name, digest in after.items() if name not in ADDED} == before
    return project


def test_the_new_loss_is_trained_and_judged(extended: Path) -> None:
    runs = pd.read_csv(extended / "results-smoke/tables/runs.csv")
    assert set(runs.energy_loss) == {"raw", "three_halves", "standardized"}
    claims = pd.read_csv(extended / "results-smoke/tables/claims.csv")
    (row,) = claims[claims.statistic == "error_exponent"].itertuples()
    assert (row.loss, row.dataset, row.expected, row.margin) == (
        "three_halves",
        "diamonds",
        0.5,
        0.1,
    )


def test_the_new_statistic_decides_the_new_question_on_the_new_dataset(extended: Path) -> None:
    claims = pd.read_csv(extended / "results-smoke/tables/claims.csv")
    (row,) = claims[claims.statistic == "share_above"].itertuples()
    assert (row.claim, row.dataset, row.ablation) == ("Q6", "diamonds", "diamonds")
    assert (row.expected, row.margin) == (0.5, 0.1)
    labels = pd.read_csv(extended / "results-smoke/statistics/diamonds/labels.csv")
    held_out = labels[labels.split != "train"]
    assert row.estimate == pytest.approx((held_out.standardized_energy > 0).mean())
    assert row.verdict in ("supported", "contradicted", "undecided")


def test_the_new_figure_is_drawn(extended: Path) -> None:
    drawn = extended / "results-smoke/figures/mean_by_size"
    assert drawn.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert set(pd.read_csv(drawn.with_suffix(".csv")).dataset) == {"diamonds"}


def test_their_titles_are_in_the_page(extended: Path) -> None:
    page = html.unescape((extended / "results-smoke/report/index.html").read_text("utf-8"))
    assert [title for title in TITLES if title not in page] == []
    verdicts = (extended / "results-smoke/tables/verdicts.md").read_text("utf-8")
    for title in (TITLES[0], "diamond crystals", "1/N^1.5", "share above the mean"):
        assert title in verdicts.replace("\u00a0", " "), title


def test_other_titles_replan_only_what_shows_them(extended: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(extended, project, symlinks=True)
    assert not planned(project, *SMOKE)
    for file, old, new in RETITLED:
        edit(project / file, old, new)
    jobs = planned(project, *SMOKE)
    assert jobs["write_report"] == jobs["draw_figure"] == jobs["write_verdicts"] == 1
    assert set(jobs) <= SHOWING
