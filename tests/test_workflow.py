"""The workflow as users meet it: end to end at toy size, re-planned after edits, interrupted."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from ase import Atoms
from ase.io import write
from conftest import Tiny
from originals import FOLDER as ORIGINALS
from originals import needs_originals

from pesloss.spec.yaml_models import read_yaml

ROOT = Path(__file__).parents[1]
COPIED = ("Snakefile", "workflow", "config", "profiles", "src")
SMOKE = ("--configfile", "config/presets/smoke.yaml")


def snakemake(
    folder: Path, *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in ``folder`` on the copy of the package that lies there."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(done.stdout[-3000:] + done.stderr[-6000:])
    return done


def environment(folder: Path) -> dict[str, str]:
    """The package of the folder; public data from the copy beside the repository, or none."""
    return {
        **os.environ,
        "PYTHONPATH": str(folder / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PESLOSS_CACHE": str(folder / "cache"),
        "PESLOSS_MIRROR": str(ORIGINALS),
        "HTTPS_PROXY": "http://127.0.0.1:9",  # nobody answers there: tests use no network
    }


def planned(folder: Path, *arguments: str) -> Counter[str]:
    """Count the jobs Snakemake would run, by rule."""
    done = snakemake(folder, "--dry-run", *arguments)
    text = done.stdout + done.stderr
    lines = text.partition("Job stats:\n")[2].splitlines()[2:]
    rows = [line.split() for line in lines[: lines.index("")] if line] if lines else []
    return Counter({name: int(count) for name, count in rows if name not in ("total", "all")})


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the smoke preset run to the end."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    snakemake(folder, *SMOKE)
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """The finished project, in a folder that a test may change (files keep their times)."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    yield folder
    shutil.rmtree(folder)


def test_smoke_run_writes_every_table_and_figure(finished: Path) -> None:
    results = finished / "results-smoke"
    claims = pd.read_csv(results / "tables" / "claims.csv")
    assert list(claims.columns[:13]) == [
        "claim", "dataset", "model", "loss", "statistic", "estimate", "ci_low", "ci_high",
        "expected", "margin", "verdict", "n_structures", "n_seeds",
    ]  # fmt: skip
    left_out = pd.read_csv(results / "tables" / "left_out.csv")
    decided = {f"C{number}" for number in range(1, 13)}
    assert {x for x in (*claims.claim, *left_out.claim) if x.startswith("C")} == decided
    assert left_out.reason.notna().all()
    verdicts = {"supported", "contradicted", "undecided"}
    assert set(claims[claims.must_be.isna()].verdict) <= verdicts
    assert set(claims.verdict) <= {*verdicts, "not_measurable"}
    figures = {path.stem for path in (results / "figures").glob("*.png")}
    names = {p.stem for p in (ROOT / "src/pesloss/report/figures").glob("*.py") if p.stem[0] != "_"}
    assert figures == names
    for path in (results / "figures").iterdir():
        assert path.stat().st_size > 0, path
    assert "### In short" in (results / "tables" / "guide.md").read_text(encoding="utf-8")
    costs = pd.read_csv(results / "tables" / "claim_cost.csv")
    records = pd.read_csv(results / "tables" / "records.csv")
    assert costs.seconds.sum() == pytest.approx(records.seconds.sum())
    assert set(pd.read_csv(results / "tables" / "training_rates.csv").dataset) == set(
        records.dataset
    )
    with zipfile.ZipFile(results / "report.zip") as archive:
        assert "report/index.html" in archive.namelist()
    cost = pd.read_csv(results / "tables" / "cost.csv")
    assert {"train", "generate_part", "decide_claims"} <= set(cost.rule)
    assert (cost.seconds > 0).all()
    assert not (finished / "results").exists()


def test_controls_of_the_smoke_run_come_out_as_they_must(finished: Path) -> None:
    controls = pd.read_csv(finished / "results-smoke" / "tables" / "controls.csv")
    assert len(controls) >= 9
    assert (controls.verdict == controls.must_be).all()


def test_second_run_plans_nothing(finished: Path) -> None:
    assert not planned(finished, *SMOKE)


def test_both_snakefiles_plan_the_same_jobs(finished: Path) -> None:
    preset = ("--configfile", "config/config.yaml")
    direct = planned(finished, *preset, "--snakefile", "workflow/Snakefile")
    assert planned(finished, *preset) == direct
    assert direct["train"] > 50


def test_plan_lists_stages_in_order(finished: Path) -> None:
    stages = list(planned(finished, "--configfile", "config/config.yaml"))
    wanted = ["generate_part", "collect_dataset", "split_dataset", "fit_statistics"]
    wanted += ["train", "tabulate_runs", "collect_claims", "tabulate_cost"]
    assert [stage for stage in stages if stage in wanted] == wanted


def receipts(project: Path, runs: list[Path]) -> list[Path]:
    """The receipts of groups that hold some of the runs, whose folders are given."""
    names = {str(path.relative_to(project / "results-smoke/runs")) for path in runs}
    found = sorted((project / "results-smoke/groups").glob("**/group.json"))
    return [path for path in found if names & set(json.loads(path.read_text("utf-8"))["runs"])]


def test_editing_a_loss_trains_only_its_runs_again(project: Path) -> None:
    edit(project / "src/pesloss/losses/energy/sqrt_n.py", "exponent = 1", "exponent = 1.0")
    jobs = planned(project, *SMOKE)
    records = list((project / "results-smoke/runs").glob("**/record.json"))
    mine = [path for path in records if path.parts[-4].startswith("sqrt_n-")]
    groups = receipts(project, [path.parent for path in mine])
    assert jobs["train"] == len(groups) > 1
    assert not {"generate_part", "fit_statistics", "build_graphs", "draw_dataset"} & set(jobs)
    before = {path: path.stat().st_mtime_ns for path in records}
    snakemake(project, str(groups[0].relative_to(project)), *SMOKE)
    again = {path for path in records if path.stat().st_mtime_ns != before[path]}
    held = json.loads(groups[0].read_text(encoding="utf-8"))["runs"]
    assert again == {
        path
        for path in mine
        if str(path.parent.relative_to(project / "results-smoke/runs")) in held
    }
    assert len(held) > len(again) > 0


def test_editing_the_plotting_code_replans_only_figures(project: Path) -> None:
    path = project / "src/pesloss/report/drawing.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    assert not planned(project, *SMOKE)
    edit(path, '"axes.labelsize": 9,', '"axes.labelsize": 9.5,')
    assert set(planned(project, *SMOKE)) <= {"draw_figure", "tabulate_cost", "write_report"}
    assert planned(project, *SMOKE)["draw_figure"] > 0


def test_one_figure_is_redrawn_without_retraining(project: Path) -> None:
    target = "results-smoke/figures/label_histogram.svg"
    before = (project / target).read_bytes()
    (project / target).unlink()
    assert planned(project, target, *SMOKE) == Counter(draw_figure=1)
    snakemake(project, target, *SMOKE)
    assert (project / target).read_bytes() == before


def test_readme_ablation_needs_one_file_and_only_its_new_runs(project: Path) -> None:
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    text = page.split("<!-- example: ablation -->\n```yaml\n")[1].split("```")[0]
    (project / "config/ablations/learning_rate.yaml").write_text(text, encoding="utf-8")
    jobs = planned(project, *SMOKE)
    assert jobs["train"] == jobs["decide_claims"] == 1  # the toy preset tries one value
    snakemake(project, "results-smoke/claims/learning_rate.csv", *SMOKE)
    assert len(pd.read_csv(project / "results-smoke/claims/learning_rate.csv")) > 0
    assert len(list((project / "results-smoke/runs").glob("**/learning_rate=*/**/record.json"))) > 1


def test_readme_loss_needs_one_file(project: Path) -> None:
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    text = page.split("<!-- example: loss -->\n```python\n")[1].split("```")[0]
    (project / "src/pesloss/losses/energy/three_halves.py").write_text(text, encoding="utf-8")
    target = "results-smoke/runs/si_sw/schnet/base/three_halves-raw-mse/weight-1/seed-0/record.json"
    assert planned(project, target, *SMOKE) == Counter(train_run=1)
    snakemake(project, target, *SMOKE)
    assert (project / target).is_file()


def test_rule_file_of_an_ablation_is_picked_up(project: Path) -> None:
    rules = project / "workflow/rules/ablations/own_stage.smk"
    rules.write_text(
        'rule own_stage:\n    output: "<results>/own.txt"\n    shell: "echo own > {output}"\n',
        encoding="utf-8",
    )
    snakemake(project, "results-smoke/own.txt", *SMOKE)
    assert (project / "results-smoke/own.txt").read_text(encoding="utf-8") == "own\n"


def test_readme_dataset_needs_one_file(project: Path, tiny: Tiny) -> None:
    """A file of one's own gets all label claims and, as it has forces, the training claims."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = readme.split("```yaml\n")[1].split("```")[0]
    (project / "config/datasets/mine.yaml").write_text(text, encoding="utf-8")
    labels = read_yaml(project / "config/datasets/mine.yaml")["recipe"]["sources"][0]["labels"]
    frames: list[Atoms] = []
    for atoms in [a for _ in range(4) for a in tiny.structures]:
        copy = atoms.copy()
        copy.info = {labels["energy"]: atoms.get_potential_energy()}
        copy.arrays[labels["forces"]] = atoms.get_forces()
        copy.positions += 1e-3 * len(frames)
        frames.append(copy)
    write(project / "mine.xyz", frames)
    snakemake(project, *SMOKE, "--config", "datasets=[mine]")
    claims = pd.read_csv(project / "results-smoke/tables/claims.csv")
    assert set(claims.dataset) == {"mine"}
    found = claims.groupby("subject").claim.unique().map(set)
    assert found["labels"] >= {"C1", "C2", "C3", "C10"}
    assert found["errors"] >= {"C3", "C5", "C7", "C8", "C10"}
    left_out = pd.read_csv(project / "results-smoke/data/mine/failures.csv")
    kept = pd.read_csv(project / "results-smoke/data/mine/structures.csv")
    assert len(kept) + len(left_out) == len(frames)


def test_without_files_the_rest_runs_and_the_plan_says_what_is_left_out(project: Path) -> None:
    nothing = ("--config", f"mirror={project}", f"cache={project}/empty")
    done = snakemake(project, "--dry-run", *SMOKE, *nothing)
    lines = [x for x in (done.stdout + done.stderr).splitlines() if x.startswith("left out: ")]
    cards = [p.stem for p in (ROOT / "config/datasets").glob("*.yaml")]
    foreign = [n for n in cards if read_yaml(ROOT / f"config/datasets/{n}.yaml")["kind"] == "files"]
    assert {line.split()[3] for line in lines} == set(foreign)
    assert all("does not answer" in line for line in lines)
    asked = snakemake(project, "--dry-run", *SMOKE, *nothing, "datasets=[s66_dft]", check=False)
    assert asked.returncode != 0
    assert "s66_dft.yaml: " in asked.stdout + asked.stderr


@needs_originals
def test_public_data_are_fetched_and_judged(finished: Path) -> None:
    claims = pd.read_csv(finished / "results-smoke/tables/claims.csv")
    assert "nbmotaw_dft" in set(claims[claims.subject == "errors"].dataset)
    assert "si_dft_one_phase" in set(claims[claims.subject == "labels"].dataset)
    log = finished / "results-smoke/logs/read_dataset/nbmotaw_dft.log"
    assert "5658 structures read, 0 unreadable" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "parts"),
    [
        ("equivariant_model", "[raw, per_atom,", "[raw, hubber,", ["hubber", "per_atom"]),
        ("losses_by_size", "models: [schnet]", "models: [schnett]", ["schnett", "painn"]),
        ("losses_by_size", "emt_alloys, own]", "emt_alloy, own]", ["emt_alloy", "si_sw"]),
        ("losses_by_size", "relation: less", "relatoin: less", ["relatoin", "relation"]),
        ("label_exponent", "label_exponent,", "label_exponnt,", ["label_exponnt", "label_moment"]),
    ],
)
def test_misspelt_names_are_refused_in_one_line(
    project: Path, name: str, old: str, new: str, parts: list[str]
) -> None:
    path = project / "config" / "ablations" / f"{name}.yaml"
    edit(path, old, new)
    done = snakemake(project, "--dry-run", *SMOKE, check=False)
    assert done.returncode != 0
    lines = [line for line in (done.stdout + done.stderr).splitlines() if f"{name}.yaml" in line]
    assert len(lines) == 1
    assert all(part in lines[0] for part in parts), lines


def test_truncated_result_is_named_in_one_line(project: Path) -> None:
    path = project / "results-smoke/data/si_sw/structures.csv"
    text = path.read_bytes()
    path.write_bytes(text[: len(text) // 2])
    target = "results-smoke/statistics/si_sw/statistics.json"
    done = snakemake(project, target, *SMOKE, check=False)
    assert done.returncode != 0
    log = project / "results-smoke/logs/split_dataset/si_sw.log"
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1
    assert "structures.csv" in lines[0]


def test_wrong_control_fails_the_workflow(project: Path) -> None:
    path = project / "config/ablations/control_planted_one.yaml"
    edit(path, "must_be: supported", "must_be: contradicted")
    done = snakemake(project, *SMOKE, check=False)
    assert done.returncode != 0
    log = project / "results-smoke/logs/check_controls.log"
    assert "control_planted_one: C2 label_exponent" in log.read_text(encoding="utf-8")
    assert not (project / "results-smoke/tables/controls.csv").exists()


def final_weights(record: Path) -> str:
    return str(json.loads(record.read_text(encoding="utf-8"))["hashes"]["final_weights"])


def test_killed_workflow_goes_on_where_it_stopped(project: Path) -> None:
    """Two groups in turn: the first one is done when all is killed."""
    results = project / "results-smoke"
    groups = sorted((results / "groups/si_sw").glob("**/group.json"))[:2]
    held = [json.loads(path.read_text(encoding="utf-8"))["runs"] for path in groups]
    runs = [results / "runs" / run / "record.json" for named in held for run in named]
    weights = [final_weights(path) for path in runs]
    folders = [path.parent.relative_to(results / "groups") for path in groups]
    started = [results / "logs/train" / f"{folder}.log" for folder in folders]
    for path in (*runs, *groups, *started):
        path.unlink()
    targets = [str(path.relative_to(project)) for path in groups]
    killed = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *targets, "--cores", "1", *SMOKE],
        cwd=project,
        env=environment(project),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not all(path.is_file() for path in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    snakemake(project, "--unlock", *SMOKE)
    assert planned(project, *targets, *SMOKE)["train"] == 1
    snakemake(project, *targets, *SMOKE)
    assert [final_weights(path) for path in runs] == weights


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file of a run but the times in its record."""
    found = {str(path): path.read_bytes() for path in sorted(folder.glob("*"))}
    record = json.loads(found.pop(str(folder / "record.json")))
    return {**found, "digest": record["digest"].encode()}


def test_damaged_files_of_runs_are_named_planned_and_made_again(project: Path) -> None:
    runs = project / "results-smoke/runs"
    folders = [path.parent for path in sorted((runs / "si_sw").glob("**/record.json"))[:4]]
    one, other, judged, predicted = folders
    whole = [files_below(folder) for folder in folders]
    (one / "record.json").rename(one / "kept")
    (other / "record.json").rename(one / "record.json")
    (one / "kept").rename(other / "record.json")
    table = judged / "structures.csv.gz"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    shutil.copy(one / "predictions.npz", predicted / "predictions.npz")
    (predicted / "history.csv").unlink()
    damaged = [files_below(folder) for folder in folders]
    groups = receipts(project, folders)
    others = {
        path: path.stat().st_mtime_ns
        for path in runs.glob("**/record.json")
        if path.parent not in (one, other, predicted)
    }

    assert planned(project, *SMOKE)["train"] == len(groups)
    assert [files_below(folder) for folder in folders] == damaged
    done = snakemake(project, *(str(path.relative_to(project)) for path in groups), *SMOKE)
    for path in (
        one / "record.json",
        other / "record.json",
        table,
        predicted / "predictions.npz",
        predicted / "history.csv",
    ):
        assert f"made again: {path.relative_to(project)}: " in done.stdout + done.stderr
    assert [files_below(folder) for folder in folders] == whole
    assert {path: path.stat().st_mtime_ns for path in others} == others
    assert "train" not in planned(project, *SMOKE)


def test_one_run_is_made_again_from_its_record(project: Path) -> None:
    """As the record says; its group and all that follows stay as they are."""
    record = next((project / "results-smoke/runs/si_sw").glob("**/record.json"))
    whole = files_below(record.parent)
    before = record.stat().st_mtime_ns
    command = json.loads(record.read_text(encoding="utf-8"))["repeat_with"].split()
    assert command == ["snakemake", "--cores", "1", "--force", str(record.relative_to(project))]
    snakemake(project, *command[3:], *SMOKE)
    assert record.stat().st_mtime_ns > before
    assert files_below(record.parent) == whole
    assert not planned(project, *SMOKE)


def test_report_opens_offline(finished: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.zip"
    snakemake(finished, "--report", str(report), *SMOKE)
    with zipfile.ZipFile(report) as archive:
        assert any(name.endswith(".html") for name in archive.namelist())
        assert any("claims" in name for name in archive.namelist())
        assert any(name.endswith("index.html") for name in archive.namelist())
        assert any("1 Verdicts" in archive.read(n).decode("utf-8") for n in archive.namelist()
                   if n.endswith(".html"))  # fmt: skip


def test_the_cost_of_a_preset_is_said_before_it_starts(finished: Path) -> None:
    full = ("--configfile", "config/presets/full.yaml")
    done = snakemake(finished, "--dry-run", *full)
    text = done.stdout + done.stderr
    found = re.search(
        r"preset full: (\d+) trainings in (\d+) jobs to do \(0 finished\), about ", text
    )
    jobs = int(next(line.split()[1] for line in text.splitlines() if line.startswith("train ")))
    assert found
    assert int(found[2]) == jobs
    assert int(found[1]) > 3 * jobs  # of an hour each
    assert "with --cores 2" in text
    done = snakemake(finished, "--dry-run", *SMOKE)
    assert "preset smoke: no trainings left" in done.stdout + done.stderr
