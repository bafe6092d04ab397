"""Killed at any moment in any stage, a workflow goes on and its results are the same bytes."""

import io
import json
import logging
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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from test_workflow import COPIED, ROOT, SMOKE, environment, planned, snakemake

from pesloss.job.files import is_scratch
from pesloss.report.verdicts import duration

STAGES = {
    "generate": "generate_part",
    "statistics": "standardize_labels",
    "train": "train",
    "claims": "decide_claims",
    "report": "write_report",
}
DATASET = "si_sw"
FIGURE = "label_histogram"
ABLATION = """\
question: Is a killed run the same as one that was left alone?
datasets: [si_sw]
runs:
  models: [schnet]
  energy_losses: [raw, standardized]
claims:
  - {claim: C2, statistic: label_exponent, expected: 0.5, margin: 0.1}
  - {claim: C7, statistic: error_exponent, expected: 0.5, margin: 0.1}
"""
MEASURED = re.compile(r"seconds|memory|^commit|^group$")
TIMES = re.compile(rb'<td class="number">[^<]*</td>|([0-9.]+ (s|min|h)\b ?)+')
LOG = logging.getLogger(__name__)
PATIENCE = 600  # seconds; a machine may be busy


def without_measurements(name: str, content: bytes) -> bytes:
    """What has to be the same in two runs: all but times, memory, commit and who was beside."""
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = sorted(archive.namelist())
            return b"".join(without_measurements(n, archive.read(n)) for n in members)
    if name.endswith(".json"):
        lasting = {k: v for k, v in json.loads(content).items() if not MEASURED.search(k)}
        return json.dumps(lasting).encode()
    if name.endswith(".csv"):
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        measured = [column for column in table.columns if MEASURED.search(column)]
        if measured:  # cost.csv is sorted by them
            order = ["rule"] if "rule" in table else []
            kept = table.sort_values(order) if order else table
            return bytes(kept.drop(columns=measured).to_csv(index=False), "utf-8")
    if name.endswith(".html"):
        text = TIMES.sub(b"#", content)
        return b"\n".join(sorted(text.splitlines()))
    return content


def test_no_time_of_a_run_is_compared() -> None:
    pages = {
        without_measurements("index.html", f"<td>all jobs {duration(took)}</td>".encode())
        for took in (0.0, 0.4, 9.96, 59.4, 59.6, 61.0, 3599.0, 3700.0)
    }
    assert len(pages) == 1


def contents(project: Path) -> dict[str, bytes]:
    """Every result, by name."""
    results = project / "results-smoke"
    return {
        str(path.relative_to(results)): without_measurements(path.name, path.read_bytes())
        for path in sorted(results.rglob("*"))
        if path.is_file()
        and path.relative_to(results).parts[0] != "logs"
        and path.name not in (".snakemake_timestamp", "unfinished.pt")
        and not is_scratch(path)
    }


def scratch_files(project: Path) -> list[Path]:
    return [path for path in (project / "results-smoke").rglob("*") if is_scratch(path)]


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    """Snakemake in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *SMOKE, *arguments],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def stage_of(process: psutil.Process) -> str | None:
    """The rule whose script a process runs."""
    with suppress(psutil.Error):
        for word in process.cmdline():
            found = re.search(r"\.snakemake/scripts/tmp\w+\.(\w+)\.py$", word)
            if found:
                return found[1]
    return None


def jobs_of(workflow: subprocess.Popen[str]) -> Iterator[tuple[str, psutil.Process]]:
    """The jobs that run now."""
    with suppress(psutil.Error):
        for process in psutil.Process(workflow.pid).children(recursive=True):
            stage = stage_of(process)
            if stage:
                yield stage, process


def processor_seconds(process: psutil.Process) -> float:
    """The work a process has done, however busy the machine is; infinity once it has ended."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return float("inf")
        times = process.cpu_times()
    except psutil.Error:
        return float("inf")
    return float(times.user + times.system)


def has_ended(process: psutil.Process) -> bool:
    """Whether a killed process is gone within a minute; its zombie may wait for a parent."""
    deadline = time.monotonic() + 60
    while processor_seconds(process) < float("inf"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def until(done: subprocess.Popen[str]) -> Iterator[None]:
    """Look again and again until a process has ended."""
    deadline = time.monotonic() + PATIENCE
    while done.poll() is None:
        assert time.monotonic() < deadline
        yield
        time.sleep(0.03)


@dataclass
class Undisturbed:
    """A small workflow, its results, and how much work each stage is."""

    project: Path
    results: dict[str, bytes] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with one dataset, one ablation, one figure: all stages, few jobs."""
    folder = tmp_path_factory.mktemp("small")
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    keep = {f"{DATASET}.yaml", f"{FIGURE}.py"}
    for kind in (
        "config/ablations/*.yaml",
        "config/datasets/*.yaml",
        "src/pesloss/report/figures/[a-z]*",
    ):
        for path in folder.glob(kind):
            if path.name not in keep:
                path.unlink()
    (folder / "config/ablations/killed.yaml").write_text(ABLATION, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def undisturbed(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    project = tmp_path_factory.mktemp("undisturbed") / "project"
    shutil.copytree(small, project)
    found = Undisturbed(project)
    workflow = start(project)
    for _ in until(workflow):
        for stage, process in jobs_of(workflow):
            seconds = processor_seconds(process)
            if np.isfinite(seconds):
                found.seconds[stage] = max(seconds, found.seconds.get(stage, 0.0))
    said = workflow.communicate()[0]
    assert workflow.returncode == 0, said
    found.results = contents(project)
    assert {"report.zip", "tables/claims.csv", "data/si_sw/parts/0.extxyz"} <= set(found.results)
    return found


def kill_in(
    project: Path, stage: str, seconds: float, whole: bool, force: bool
) -> tuple[bool, str]:
    """Kill a job of ``stage``, or all processes, when the job has worked for ``seconds``.

    Returns whether the job was hit, or else through before, and what the workflow said.
    """
    workflow = start(project, *(("--forcerun", stage) if force else ()))
    victim: psutil.Process | None = None
    for _ in until(workflow):
        victim = victim or next((p for name, p in jobs_of(workflow) if name == stage), None)
        if victim and processor_seconds(victim) >= seconds:
            break
    hit = victim is not None and processor_seconds(victim) < float("inf")
    everyone = [] if workflow.poll() is not None else psutil.Process(workflow.pid).children(True)
    with suppress(ProcessLookupError):
        if victim and hit and not whole:
            os.kill(victim.pid, signal.SIGKILL)
        else:
            os.killpg(workflow.pid, signal.SIGKILL)
    said = workflow.communicate(timeout=PATIENCE)[0]
    if workflow.returncode == -signal.SIGKILL:
        assert all(has_ended(process) for process in everyone)
        snakemake(project, "--unlock", *SMOKE)
    return hit and workflow.returncode != 0, said


def test_killed_at_any_moment_the_results_are_the_same(
    undisturbed: Undisturbed,
    small: Path,
    tmp_path: Path,
    nightly: bool,
) -> None:
    """One job or everything is killed: 20 times at night, in all stages, else three times.

    Right after each kill, what is there is what an undisturbed run writes, or it is not there.
    """
    rng = np.random.default_rng(20)
    some = [str(name) for name in rng.choice(list(STAGES), 3, replace=False)]
    rounds = [[*STAGES, *STAGES]] * 2 if nightly else [some]
    kills: list[tuple[str, bool, bool]] = []
    for number, stages in enumerate(rounds):
        project = tmp_path / f"project-{number}"
        shutil.copytree(small, project)
        for name in sorted(stages, key=list(STAGES).index):
            for attempt in range(5):
                seconds = rng.uniform(0, undisturbed.seconds[STAGES[name]])
                whole = bool(rng.random() < 0.5)
                hit, said = kill_in(project, STAGES[name], seconds, whole, force=attempt > 0)
                kills.append((name, whole, hit))
                about = "everything" if whole else "one job"
                LOG.info("%s at %.2f s: %s, %s", name, seconds, about, "hit" if hit else "missed")
                found = contents(project)
                assert found == {path: undisturbed.results[path] for path in found}, said
                if hit:
                    break
        snakemake(project, *SMOKE, "--cores", "8")
        assert contents(project) == undisturbed.results
        assert not scratch_files(project)
        assert not planned(project, *SMOKE)
        shutil.rmtree(project)
    hits = Counter(name for name, _, hit in kills if hit)
    assert hits == Counter(name for stages in rounds for name in stages)


def test_after_ctrl_c_the_next_run_goes_on(
    undisturbed: Undisturbed, small: Path, tmp_path: Path
) -> None:
    """As a terminal does it: every process gets the signal; no lock is left.

    A job that Snakemake was just about to start ends as usual.
    """
    project = tmp_path / "project"
    shutil.copytree(small, project)
    workflow = start(project, "--until", "train")
    for _ in until(workflow):
        if any(stage == "train" for stage, _ in jobs_of(workflow)):
            os.killpg(workflow.pid, signal.SIGINT)
            break
    workflow.communicate(timeout=PATIENCE)
    assert workflow.returncode != 0
    assert not scratch_files(project)
    found = contents(project)
    assert found == {name: undisturbed.results[name] for name in found}
    snakemake(project, *SMOKE, "--until", "train")
    found = contents(project)
    assert sum(name.endswith("record.json") for name in found) == 2
    assert found == {name: undisturbed.results[name] for name in found}


def test_a_second_workflow_in_the_same_folder_is_refused(undisturbed: Undisturbed) -> None:
    project = undisturbed.project
    first = start(project, "--forcerun", "write_report")
    held: list[psutil.Process] = []
    for _ in until(first):
        held = [process for _, process in jobs_of(first)]
        if held:
            held[0].suspend()
            break
    second = start(project, "--forcerun", "write_report")
    refused = second.communicate(timeout=PATIENCE)[0]
    held[0].resume()
    said = first.communicate(timeout=PATIENCE)[0]
    assert second.returncode != 0
    assert "Directory cannot be locked" in refused
    assert "--unlock" in refused
    assert first.returncode == 0, said
    assert contents(project) == undisturbed.results
