"""What jobs ask a cluster for: more than was measured, and what users say instead."""

import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import Tiny, failure
from projects import ROOT, copy_project, snakemake

from pesloss.data.spec import DatasetSpec
from pesloss.job.files import write_json
from pesloss.plan.resources import Requests, growth
from pesloss.report.cost import AFTER, COST_COLUMNS, cost_table

REFERENCE = ROOT / "results/reference/tables/cost.csv"
MEASURED = Requests({"small": 450.0, "large": 650.0}, {"small": 2.0, "large": 300.0})


def test_memory_is_twice_what_was_measured_and_some() -> None:
    assert MEASURED.memory_mb("small") == 1400
    assert MEASURED.memory_mb("large") == 1800
    assert MEASURED.memory_mb("large", attempt=2) == 3600
    assert MEASURED.memory_mb("large", gpu=True) == 5800


def test_memory_beyond_that_of_imports_grows_with_the_data() -> None:
    grown = Requests(MEASURED.peak_memory_mib, MEASURED.longest_seconds, growth=4.0)
    assert grown.memory_mb("small") == 1400
    assert grown.memory_mb("large") == 2 * (450 + 4 * 200) + 500


def test_time_is_ten_times_what_was_measured_and_a_quarter_hour_at_least() -> None:
    assert MEASURED.minutes("small") == 15
    assert MEASURED.minutes("large") == 50
    assert MEASURED.minutes("large", attempt=2) == 100
    assert MEASURED.minutes("large", seconds=601) == 101
    assert Requests({}, MEASURED.longest_seconds, growth=2.0).minutes("large") == 100


def test_rules_never_measured_ask_for_what_is_usual() -> None:
    assert (Requests().memory_mb("new"), Requests().minutes("new")) == (1900, 20)
    assert MEASURED.memory_mb("new") == 1900


def test_the_data_of_presets_are_compared() -> None:
    def spec(n: int | dict[str, int]) -> DatasetSpec:
        return DatasetSpec(description="x", kind="labels", n_structures=n)

    specs = [spec({"smoke": 10, "default": 100, "full": 400}), spec(7), spec({"default": 1})]
    assert [growth(specs, name) for name in ("smoke", "default", "full")] == [1.0, 1.0, 4.0]
    assert growth([], "full") == 1.0


def test_a_table_of_costs_is_read_as_it_is_written(tmp_path: Path) -> None:
    assert Requests.read(tmp_path / "cost.csv") == Requests()
    for rule in ("r", *AFTER):  # the latter ran before, in the same folder
        cost = {"rule": rule, "seconds": 7.0, "peak_memory_mib": 9.0}
        write_json(tmp_path / f"{rule}.cost.json", cost)
    table = cost_table(tmp_path)
    assert list(table.columns) == COST_COLUMNS
    table.to_csv(tmp_path / "cost.csv", index=False)
    assert Requests.read(tmp_path / "cost.csv", 2.0) == Requests({"r": 9.0}, {"r": 7.0}, 2.0)
    (tmp_path / "cost.csv").write_text("rule\nr\n", encoding="utf-8")
    assert "cost.csv" in failure(lambda: Requests.read(tmp_path / "cost.csv"))


def test_every_measured_rule_asks_for_more_than_it_took() -> None:
    requests = Requests.read(REFERENCE)
    table = pd.read_csv(REFERENCE)
    assert {"generate_part", "train", "decide_claims", "write_guide"} <= set(table.rule)
    for rule, seconds, mib in table[["rule", "longest_seconds", "peak_memory_mib"]].to_numpy():
        assert 2 * mib + 500 <= requests.memory_mb(rule) <= 2500, rule
        assert seconds / 60 * 10 <= requests.minutes(rule) <= 60, rule


def asked(text: str) -> dict[str, list[tuple[int, int]]]:
    """Memory and minutes of each job of a plan, by rule."""
    found: dict[str, list[tuple[int, int]]] = {}
    for block in re.split(r"\n(?=rule |localrule )", text):
        rule = re.match(r"(?:local)?rule (\w+):", block)
        memory, minutes = (re.search(rf"{k}=(\d+)", block) for k in ("mem_mb", "runtime"))
        if rule and memory and minutes:
            found.setdefault(rule[1], []).append((int(memory[1]), int(minutes[1])))
        elif rule:
            found.setdefault(rule[1], [])
    return found


@pytest.fixture
def project(tmp_path: Path, tiny: Tiny) -> Path:
    return copy_project(tmp_path, tiny.structures)


def test_every_rule_asks_and_users_have_the_last_word(project: Path) -> None:
    (project / "results/reference/tables").mkdir(parents=True)
    for name in ("cost.csv", "training_rates.csv"):
        path = project / "results/reference/tables" / name
        path.write_bytes((ROOT / "results/reference/tables" / name).read_bytes())
    dry = ("--dry-run", "--cores", "1", "--quiet", "reason", "--workflow-profile", "none")
    done = snakemake(project, *dry)
    plan = asked(done.stdout + done.stderr)
    requests = Requests.read(REFERENCE)
    silent = [rule for rule, jobs in plan.items() if not jobs and rule != "all"]
    assert not silent
    memory = {rule: requests.memory_mb(rule) for rule in plan}
    memory["train"] = requests.memory_mb("train", n_runs=4)  # four losses in a job
    assert memory["train"] >= requests.memory_mb("train")
    assert requests.memory_mb("train", n_runs=28) > requests.memory_mb("train")
    for rule, jobs in plan.items():
        assert {asked for asked, _ in jobs} <= {memory[rule]}, rule
        assert all(minutes >= requests.minutes(rule, seconds=0) for _, minutes in jobs), rule
    done = snakemake(project, *dry, "--set-resources", "train:mem_mb=7000", "train:runtime=5")
    changed = asked(done.stdout + done.stderr)
    assert set(changed.pop("train")) == {(7000, 5)}
    assert changed == {rule: jobs for rule, jobs in plan.items() if rule != "train"}


def test_longer_trainings_ask_for_more_time(project: Path) -> None:
    dry = ("--dry-run", "--cores", "1", "--quiet", "reason", "--workflow-profile", "none")
    target = "results-smoke/runs/mine/schnet/base/raw-raw-mse/weight-3/seed-0/record.json"
    minutes = []
    for n_steps in (10, 200_000):
        training = f"training={{n_steps: {n_steps}, batch_size: 10}}"
        done = snakemake(project, *dry, target, config=(training,))
        minutes.append(asked(done.stdout + done.stderr)["train_run"][0][1])
    assert minutes[0] == 15
    assert minutes[1] == pytest.approx(10 * 2.5e-3 * 200_000 * 10 / 60, rel=0.02)
