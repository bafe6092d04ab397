"""Failed jobs are named: which, why, and where their logs are, however quiet Snakemake is."""

import os
from pathlib import Path

import pytest
from conftest import Tiny
from projects import copy_project, snakemake

from pesloss.job.failures import FailedJob, said, why

DOOMED = {
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "broken": "raise ImportError('before the log is open')\n",
    "mistaken": "from pesloss.job.script import job\n"
    "with job(snakemake) as running:\n    running.say('half done')\n    {}['absent']\n",
    "half_done": "import os, signal\nfrom pesloss.job.script import job\n"
    "with job(snakemake) as running:\n    running.say('half done')\n    running.log.flush()\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n",
    "empty_handed": "from pesloss.job.script import job\n"
    "with job(snakemake) as running:\n    pass\n",
}
RULE = """
rule {name}:
    output:
        "<results>/{name}-{{which}}.txt",
    log:
        "<results>/logs/{name}-{{which}}.log",
    script:
        "../../scripts/{name}.py"
"""


@pytest.fixture
def project(tmp_path: Path, tiny: Tiny) -> Path:
    """A project with a truncated data file of one's own, and jobs that end in other ways."""
    folder = copy_project(tmp_path, tiny.structures[:4])
    data = folder / "mine.xyz"
    data.write_bytes(data.read_bytes()[:-200])
    for name, script in DOOMED.items():
        (folder / f"workflow/scripts/{name}.py").write_text(script, encoding="utf-8")
    rules = "".join(RULE.format(name=name) for name in DOOMED)
    (folder / "workflow/rules/ablations/doomed.smk").write_text(rules, encoding="utf-8")
    return folder


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_every_failed_job_is_named_with_reason_and_log(project: Path, snakefile: str) -> None:
    targets = [f"results-smoke/{name}-7.txt" for name in DOOMED]
    stale = project / "results-smoke/logs/killed-7.log"
    stale.parent.mkdir(parents=True)
    stale.write_text("failed: for another reason, long ago\n", encoding="utf-8")
    os.utime(stale, (1e9, 1e9))
    split = "results-smoke/data/mine/splits.csv"
    done = snakemake(
        project, split, *targets, "--cores", "2", "--latency-wait", "0", "--snakefile", snakefile
    )
    assert done.returncode == 1
    wanted = [
        "failed: broken which=7: ended with exit status 1 before it could say why",
        "failed: empty_handed which=7: ended without all of its files",
        "    log: results-smoke/logs/empty_handed-7.log",
        "failed: half_done which=7: was killed by SIGKILL before it could say why",
        "    log: results-smoke/logs/half_done-7.log",
        "failed: killed which=7: was killed by SIGKILL before it could say why",
        "failed: mistaken which=7: KeyError: 'absent'",
        "    log: results-smoke/logs/mistaken-7.log",
        "failed: read_dataset dataset=mine: mine.xyz: ",
        "    log: results-smoke/logs/read_dataset/mine.log",
        "6 jobs failed; 1 not run because of that; 0 done",
    ]
    during, _, after = done.stderr.partition("Exiting because a job execution failed")
    at_end = after.splitlines()[1 : len(wanted) + 1]
    shown = [line[: len(start)] for line, start in zip(at_end, wanted, strict=False)]
    assert shown == wanted, done.stderr
    assert "truncated" in next(line for line in at_end if "read_dataset" in line)
    for line in at_end[:-1]:  # said as it happened, too
        assert line in during or "empty_handed" in line
    assert "Traceback" not in done.stderr.replace("Traceback (most recent call last):", "", 1)
    assert "CalledProcessError" not in done.stderr
    log = (project / "results-smoke/logs/mistaken-7.log").read_text(encoding="utf-8")
    assert "half done\nTraceback" in log


def test_nothing_is_said_where_nothing_fails(tmp_path: Path, tiny: Tiny) -> None:
    folder = copy_project(tmp_path, tiny.structures)
    done = snakemake(folder, "results-smoke/data/mine/splits.csv", "--cores", "1")
    assert done.returncode == 0
    assert "failed" not in done.stdout + done.stderr


CALLED = "RuleException:\nCalledProcessError in file \"x.smk\", line 7:\nCommand 'python x.py' "
SLURM = "SLURM-job '12' failed, SLURM status is: '{}'. Detailed failure reason unavailable"


@pytest.mark.parametrize(
    ("log", "message", "reason"),
    [
        ("x.csv: no such file", f"{CALLED}returned non-zero exit status 1.", "x.csv: no such file"),
        (None, f"{CALLED}died with <Signals.SIGBUS: 7>.", "was killed by SIGBUS"),
        (None, f"{CALLED}returned non-zero exit status 137.", "was killed by SIGKILL"),
        (None, f"{CALLED}returned non-zero exit status 2.", "ended with exit status 2"),
        (None, SLURM.format("CANCELLED"), "was cancelled before it could say why (Slurm: CANC"),
        (None, SLURM.format("OUT_OF_MEMORY"), "was killed for want of memory before it could "),
        (None, SLURM.format("TIMEOUT"), "ran out of its time before it could say why (Slurm: T"),
        (None, SLURM.format("NEW_STATE"), "ended before it could say why (Slurm: NEW_STATE)"),
        ("x.csv: cut off", SLURM.format("FAILED"), "x.csv: cut off (Slurm: FAILED)"),
        (
            None,
            "SLURM sbatch failed. The error message was 'sbatch: error:\n Memory'.\n  call: x",
            "could not be submitted: sbatch: error: Memory",
        ),
        (None, "", "was killed or cancelled before it could say why"),
    ],
)
def test_the_reason_is_the_jobs_own_or_how_it_ended(
    log: str | None, message: str, reason: str
) -> None:
    found = why(log, message)
    assert found.startswith(reason)
    assert "\n" not in found


def test_what_a_log_says(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert said(log) is None
    assert said(tmp_path) is None
    log.write_bytes(b"\xff half done\nnot yet failed: no\n")
    assert said(log) is None
    log.write_text("half done\nfailed: y.csv: no such file\n", encoding="utf-8")
    assert said(log) == "y.csv: no such file"


def test_a_failed_job_is_a_short_block() -> None:
    job = FailedJob("train", {"dataset": "si", "seed": "0"}, "was cancelled", ("a.log", "b.log"))
    assert str(job) == "train dataset=si seed=0: was cancelled\n    log: a.log\n    log: b.log"
