"""The plugin for Slurm and a whole small run through a real one, with a requeue and a cancel."""

import json
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable
from importlib.metadata import requires, version
from pathlib import Path
from typing import Self

from conftest import Tiny
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from projects import ROOT, command, copy_project, environment, snakemake
from slurm import ask, needs_plugin, needs_slurm, one_node
from test_tooling import pins

from pesloss.spec.yaml_models import read_yaml

EXECUTOR = "snakemake-executor-plugin-slurm"


def extra() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"]["slurm"])


def test_pins_of_slurm_are_exact_and_add_to_those_of_all() -> None:
    own = pins("constraints-slurm.txt") + extra()
    for pin in own:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*", pin), pin
    names = {pin.partition("==")[0] for pin in own}
    all_of_us = {
        re.split(r"\[|==", pin)[0] for pin in pins("requirements.txt") + pins("constraints.txt")
    }
    assert names == {EXECUTOR, f"{EXECUTOR}-jobstep"}
    assert not names & all_of_us
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "constraints-slurm.txt" in makefile.partition("\n.venv/slurm:")[2].partition("\n\n")[0]


@needs_plugin
def test_pins_of_slurm_do_not_clash_with_ours() -> None:
    pinned = {}
    files = ("requirements.txt", "constraints.txt", "constraints-slurm.txt")
    for pin in [*extra(), *(pin for name in files for pin in pins(name))]:
        name, _, number = pin.partition("==")
        pinned[canonicalize_name(name.partition("[")[0])] = number
    for name in (EXECUTOR, f"{EXECUTOR}-jobstep"):
        assert version(name) == pinned[canonicalize_name(name)], name
        for text in requires(name) or []:
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate():
                number = pinned[canonicalize_name(wanted.name)]
                assert wanted.specifier.contains(number), f"{name} wants {wanted}, pinned {number}"
                assert wanted.specifier.contains(version(wanted.name)), wanted


def test_profile_works_without_accounting_and_as_the_default_one() -> None:
    slurm, usual = (
        read_yaml(ROOT / f"profiles/{name}/profile.yaml") for name in ("slurm", "default")
    )
    assert slurm["executor"] == "slurm"
    assert slurm["slurm-status-command"] == "squeue"
    # The plugin leaves squeue for sacct, which hangs, where MinJobAge (300 s) is less than three
    # times this.
    assert 3 * slurm["slurm-init-seconds-before-status-checks"] <= 300
    assert {key: slurm[key] for key in usual} == usual
    assert {"mem_mb", "runtime"} == {text.partition("=")[0] for text in slurm["default-resources"]}


TWO_CHANGES = "term_constants=0~standardized_outputs=0"
# Long enough to be met while it runs; two seeds of four losses each.
TRAINING = (
    "training={n_steps: 3000, batch_size: 5, n_validations: 20}",
    "seeds=[0, 1]",
    "most={datasets: 1, seeds: 2, force_weights: 1, values: 1}",
)
GROUPS = ("seed-0", "seed-1")
JOBS = {
    **{seed: Path(f"results-smoke/groups/mine/schnet/base/{seed}/0") for seed in GROUPS},
    "run": Path(f"results-smoke/runs/mine/schnet/{TWO_CHANGES}/per_atom-raw-mse/weight-3/seed-0"),
}
"""Folders of two jobs that train a group, and of a run that is asked for by name."""
TARGETS = [*(f"{JOBS[seed]}/group.json" for seed in GROUPS), f"{JOBS['run']}/structures.csv.gz"]
LOGS = {
    **{seed: rf"rule_train/mine_schnet_base_{seed.partition('-')[2]}_0" for seed in GROUPS},
    "run": r"rule_train_run/mine_schnet_\S+?_per_atom_raw_mse_3_0",
}


def project(folder: Path, tiny: Tiny) -> Path:
    """A copy of the project whose trainings keep a checkpoint soon."""
    copy_project(folder, tiny.structures)
    path = folder / "src/pesloss/training/job.py"
    text = path.read_text(encoding="utf-8")
    assert "checkpoint_seconds: float = 20.0" in text
    path.write_text(text.replace("seconds: float = 20.0", "seconds: float = 0.2"), "utf-8")
    return folder


class Workflow:
    """A run of Snakemake through Slurm, and what it says."""

    def __init__(self, folder: Path, env: dict[str, str], *arguments: str) -> None:
        self.folder = folder
        self.said = folder / "said.txt"
        options = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1")
        with self.said.open("wb") as stream:
            self.process = subprocess.Popen(
                command(*options, *arguments, *TARGETS, config=TRAINING),
                cwd=folder,
                env={**environment(folder), **env},
                stdout=stream,
                stderr=stream,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def text(self) -> str:
        return self.said.read_text(encoding="utf-8")

    def jobs(self, name: str) -> list[str]:
        """The Slurm jobs that did one of ``JOBS``."""
        return re.findall(rf"SLURM jobid (\d+) \(log: \S+/{LOGS[name]}/", self.text)

    def meet(self, acts: dict[str, Callable[[str], object]], seconds: float = 300) -> None:
        """Do something to the Slurm job of each of ``JOBS`` while it trains."""
        waiting, deadline = dict(acts), time.monotonic() + seconds
        while waiting:
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None, self.text
            for name in list(waiting):
                if (self.folder / JOBS[name] / "unfinished.pt").is_file():
                    waiting.pop(name)(self.jobs(name)[-1])
            time.sleep(0.05)

    def end(self, seconds: float = 600) -> int:
        return self.process.wait(seconds)


def results(folder: Path) -> dict[str, object]:
    """Every result by its path, without what says how long and where it was made."""
    files = [path for path in (folder / "results-smoke").rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): _content(path)
        for path in files
        if "logs" not in path.parts and path.name != "weights.pt"
    }


def _content(path: Path) -> object:
    if path.name != "record.json":
        return path.read_bytes()
    record = json.loads(path.read_text(encoding="utf-8"))
    return record["hashes"], record["final"]


@needs_plugin
@needs_slurm
def test_requeued_and_cancelled_jobs_end_as_on_one_machine(tmp_path: Path, tiny: Tiny) -> None:
    here, folder = project(tmp_path / "here", tiny), tmp_path / "cluster"
    # The data are made once, to save time.
    data = ("--until", "standardize_labels", "build_graphs", "--cores", "2")
    done = snakemake(here, *TARGETS, *data, config=TRAINING)
    assert done.returncode == 0, done.stderr
    shutil.copytree(here, folder)
    with one_node(tmp_path / "s") as env:

        def requeue(job: str) -> None:
            ask(env, "scontrol", "requeue", job)
            ask(env, "scontrol", "update", f"jobid={job}", "StartTime=now")

        with Workflow(folder, env, "--retries", "0") as first:
            first.meet({"seed-0": requeue, "seed-1": lambda job: ask(env, "scancel", job)})
            assert first.end() == 1
        block = first.text.partition("Exiting because a job execution failed")[2]
        about = "train dataset=mine model=schnet variant=base seed=1 batch=0: "
        assert f"failed: {about}" in block
        assert "(Slurm: CANCELLED)" in block
        assert re.search(rf"log: \S+/{first.jobs('seed-1')[0]}\.log", block)
        assert "1 job failed; 0 not run because of that; " in block
        assert "information" not in first.text.partition("Select jobs")[2]  # no job was warned of
        with Workflow(folder, env) as second:
            assert second.end() == 0, second.text
        assert {name: len(second.jobs(name)) for name in JOBS} == {
            "seed-0": 0,
            "seed-1": 1,
            "run": 0,
        }
    done = snakemake(here, "--cores", "2", *TARGETS, config=TRAINING)
    assert done.returncode == 0, done.stderr
    assert results(folder) == results(here)
