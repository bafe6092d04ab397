"""Further seeds of one ablation: only its new runs are planned, and mistakes are one line."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import failure

from pesloss.__main__ import main
from pesloss.files import write_table, write_text
from pesloss.more_seeds import add_seeds, undecided
from pesloss.plan import MORE_SEEDS as FILE
from pesloss.plan import Suite, longer
from pesloss.specification import read_yaml

CONFIG = Path(__file__).parents[1] / "config"
NAME = "dft_errors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of config/ without further seeds, three of them by default."""
    copied = tmp_path / "config"
    shutil.copytree(CONFIG, copied, ignore=shutil.ignore_patterns(FILE))
    content = read_yaml(copied / "config.yaml")
    write_text(copied / "config.yaml", yaml.safe_dump({**content, "seeds": [0, 1, 2]}))
    return copied


def suite(folder: Path, preset: str = "") -> Suite:
    content = read_yaml(folder / "config.yaml")
    if preset:
        content |= read_yaml(folder / "presets" / f"{preset}.yaml")
    return Suite.read(content, folder)


def test_only_the_new_runs_of_that_ablation_are_planned(folder: Path) -> None:
    before = suite(folder)
    added = add_seeds(NAME, 5, folder=folder)
    assert (added.before, added.after, added.preset) == (3, 5, "default")
    after = suite(folder)
    for name in before.ablations:
        if name != NAME:
            assert after.runs_of(name) == before.runs_of(name), name
    new = set(after.runs_of(NAME)) - set(before.runs_of(NAME))
    assert set(before.runs_of(NAME)) < set(after.runs_of(NAME))
    assert {run.seed for run in new} == {3, 4}
    assert len(new) == 2 * len(before.runs_of(NAME)) / 3
    assert set(after.runs) - set(before.runs) == new


def test_other_presets_keep_their_seeds(folder: Path) -> None:
    before = suite(folder, "full").runs
    add_seeds(NAME, 4, folder=folder)
    assert suite(folder, "full").runs == before
    added = add_seeds(NAME, preset="full", folder=folder)
    assert (added.before, added.after) == (5, 6)
    assert len(suite(folder, "full").runs) > len(before)
    assert read_yaml(folder / FILE) == {"seeds": {"default": {NAME: 4}, "full": {NAME: 6}}}


def test_one_seed_more_each_time(folder: Path) -> None:
    assert [add_seeds(NAME, folder=folder).after for _ in range(3)] == [4, 5, 6]
    assert longer((4, 7), 4) == (4, 7, 8, 9)


def table_of_claims(folder: Path, verdicts: list[str]) -> None:
    columns = {
        "claim": "C7",
        "ablation": NAME,
        "subject": "errors",
        "statistic": "error_exponent",
        "options": np.nan,
        "dataset": "si_dft",
        "loss": "raw",
        "group": ["", "liquid"],
        "verdict": verdicts,
        "seeds_to_decide": [8.0, np.nan],
    }
    write_table(folder.parent / "results" / "tables" / "claims.csv", pd.DataFrame(columns))


def test_what_would_decide_is_said(folder: Path) -> None:
    table_of_claims(folder, ["undecided", "undecided"])
    added = add_seeds(NAME, folder=folder)
    assert added.after == 4
    assert added.outlook == (
        "C7 error_exponent of si_dft, raw: 8 seeds",
        "C7 error_exponent of si_dft, raw, liquid: no number of seeds",
    )


def test_nothing_is_added_where_all_is_decided(folder: Path) -> None:
    table_of_claims(folder, ["supported", "contradicted"])
    added = add_seeds(NAME, folder=folder)
    assert (added.before, added.after, added.outlook) == (3, 3, ())
    assert not (folder / FILE).exists()
    assert add_seeds(NAME, 4, folder=folder).after == 4


def test_verdicts_on_labels_know_no_seeds() -> None:
    row = {"ablation": [NAME], "subject": "labels", "verdict": "undecided"}
    more = dict.fromkeys(("loss", "group", "options", "dataset", "claim", "statistic"), "")
    assert undecided(pd.DataFrame({**row, **more, "seeds_to_decide": 9}), NAME) == ()


def test_mistakes_are_one_line(folder: Path) -> None:
    assert "ablation is 'dft'; allowed: all_losses" in failure(
        lambda: add_seeds("dft", folder=folder)
    )
    assert "no runs" in failure(lambda: add_seeds("label_exponent", folder=folder))
    few = failure(lambda: add_seeds(NAME, 2, folder=folder))
    assert "--to is 2; allowed: at least 3" in few
    preset = failure(lambda: add_seeds(NAME, preset="fulll", folder=folder))
    assert "--preset is 'fulll'; allowed: full, smoke" in preset
    assert not (folder / FILE).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: {default: {dft: 4}}", "seeds.default is 'dft'; allowed: all_losses"),
        ("seeds: {default: {dft_errors: 2}}", "default.dft_errors is 2; allowed: at least 3"),
        ("seeds: {default: {dft_errors: none}}", "seeds.default.dft_errors is 'none'"),
        ("seeds: {default: {label_exponent: 4}}", "seeds.default.label_exponent: .* has no runs"),
        ("dft_errors: 4", "unknown key 'dft_errors'; allowed: seeds"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(folder: Path, text: str, message: str) -> None:
    write_text(folder / FILE, text)
    with pytest.raises(ValueError, match=rf"more_seeds\.yaml: .*{message}"):
        suite(folder)


def test_the_command_says_what_it_did(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    table_of_claims(folder, ["undecided", "supported"])
    assert main(["more-seeds", NAME]) == 0
    said = capsys.readouterr().out
    assert "dft_errors, preset default: 3 seeds, now 4" in said
    assert "C7 error_exponent of si_dft, raw: 8 seeds" in said
    assert main(["more-seeds", NAME, "--to", "1"]) == 1
    assert "at least 4" in capsys.readouterr().err
