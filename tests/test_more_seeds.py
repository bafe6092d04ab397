"""Further seeds of one ablation: only its new runs are planned, and mistakes are one line."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import failure

from pesloss.__main__ import main
from pesloss.job.files import write_table, write_text
from pesloss.plan.seeds import add_seeds, merged, undecided, with_number
from pesloss.plan.suite import Suite
from pesloss.spec.config_files import MORE_SEEDS as FILE
from pesloss.spec.config_files import longer
from pesloss.spec.yaml_models import read_yaml

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


@pytest.mark.parametrize("to", [1001, 10**12])
def test_more_seeds_than_anybody_has_are_not_written(folder: Path, to: int) -> None:
    said = failure(lambda: add_seeds(NAME, to, folder=folder))
    assert said.startswith(f"more-seeds: seeds.default.{NAME} is {to}; ")
    assert said.endswith("less than or equal to 1000")
    assert not (folder / FILE).exists()


def test_what_the_plan_refuses_is_not_written(folder: Path) -> None:
    text = "seeds: {full: {dft_errors: 7}}\n"
    write_text(folder / FILE, text)
    many = yaml.safe_load((folder / "ablations" / f"{NAME}.yaml").read_text())
    many["runs"]["vary"] = {"n_steps": list(range(1, 60))}
    write_text(folder / "ablations" / f"{NAME}.yaml", yaml.safe_dump(many))
    said = failure(lambda: add_seeds(NAME, 900, folder=folder))
    assert f"{NAME}.yaml: runs are " in said
    assert said.endswith("trainings; allowed: up to 100000")
    assert (folder / FILE).read_text() == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "seeds:\n  default:\n    b: 4\n"),
        ("# why\nseeds: {}\n", "# why\nseeds:\n  default:\n    b: 4\n"),
        (
            "# why\nseeds:\n  default:\n    # first\n    b: 3  # three\n    a: 5\n",
            "# why\nseeds:\n  default:\n    # first\n    b: 4  # three\n    a: 5\n",
        ),
        (
            "seeds:\n  default:\n    a: 5  # five\n",
            "seeds:\n  default:\n    b: 4\n    a: 5  # five\n",
        ),
        (
            "seeds:\n  full:\n    a: 5  # five\n",
            "seeds:\n  default: {b: 4}\n  full:\n    a: 5  # five\n",
        ),
        ("seeds: {full: {a: 5}}  # x\n", "seeds: {default: {b: 4}, full: {a: 5}}  # x\n"),
        ("seeds: {default: {b: 3, a: 5}}\n", "seeds: {default: {b: 4, a: 5}}\n"),
        (
            "seeds:\n  full: &f {b: 3}\n  default: *f\n",
            "seeds:\n  default:\n    b: 4\n  full:\n    b: 3\n",
        ),
    ],
)
def test_comments_and_order_are_kept(text: str, expected: str) -> None:
    assert with_number(text, "default", "b", 4) == expected
    assert with_number(expected, "default", "b", 4) == expected


def test_an_unwritable_file_is_named(folder: Path) -> None:
    (folder / FILE).mkdir()
    said = failure(lambda: add_seeds(NAME, 4, folder=folder))
    assert said == f"{folder / FILE}: not a file but a folder, pipe or device"
    (folder / FILE).rmdir()
    (folder / FILE).symlink_to(FILE)
    assert "cannot be read (Too many levels" in failure(lambda: add_seeds(NAME, 4, folder=folder))


def test_a_preset_is_merged_as_snakemake_does() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merged(base, {"a": {"c": [3]}, "e": 2}) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: {defualt: {dft_errors: 4}}", "seeds is 'defualt'; allowed: default, full, smoke"),
        ("seeds: {full: {dft: 4}}", "seeds.full is 'dft'; allowed: all_losses"),
        ("seeds: {default: {}}", "seeds is .*; empty"),
        ("seeds: {default: {dft_errors: 2000}}", "seeds.default.dft_errors is 2000; .* to 1000"),
        ("seeds: {default: {dft_errors: true}}", "seeds.default.dft_errors is True; .* integer"),
        ("seeds: {}\nseeds: {}", "line 2: key 'seeds' is repeated"),
        ("", "content is empty"),
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
