"""Says which jobs failed, why, and where their logs are, however quiet Snakemake is."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pesloss.job.script import FAILED

SILENT = "before it could say why"
# How Python's subprocess and the Slurm plugin put the end of a job.
BY_SIGNAL = re.compile(r"died with <Signals\.(SIG\w+)")
BY_STATUS = re.compile(r"returned non-zero exit status (\d+)")
BY_SLURM = re.compile(r"SLURM status is: '(\w+)'")
BY_SBATCH = re.compile(r"The error message was '(.*?)'", re.DOTALL)
SHELL_SIGNALS = {129: "SIGHUP", 130: "SIGINT", 134: "SIGABRT", 135: "SIGBUS", 137: "SIGKILL",
                 139: "SIGSEGV", 143: "SIGTERM"}  # fmt: skip
SLURM_ENDS = {
    "CANCELLED": "was cancelled",
    "OUT_OF_MEMORY": "was killed for want of memory",
    "TIMEOUT": "ran out of its time",
    "DEADLINE": "ran out of its time",
    "PREEMPTED": "gave way to another job",
    "NODE_FAIL": "lost its node",
    "BOOT_FAIL": "lost its node",
    "FAILED": "was killed or broke off",
}


@dataclass(frozen=True)
class FailedJob:
    """A job that failed: which, why, and where more is written."""

    rule: str
    wildcards: Mapping[str, str]
    reason: str
    logs: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return a line with rule, wildcards and reason, and an indented one for each log."""
        name = " ".join([self.rule, *(f"{key}={value}" for key, value in self.wildcards.items())])
        return "\n".join([f"{name}: {self.reason}", *(f"    log: {log}" for log in self.logs)])


def said(log: Path | str) -> str | None:
    """Return the one line in which a job said why it failed; None where its log has none."""
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)]
    return found[-1] if found else None


def why(said: str | None, message: str) -> str:
    """Return in one line why a job failed.

    Parameters
    ----------
    said
        What the job itself said, if anything.
    message
        What its executor said of its end.
    """
    slurm = BY_SLURM.search(message)
    state = f" (Slurm: {slurm.group(1)})" if slurm else ""
    return f"{said or _end(message)}{state}"


def _end(message: str) -> str:
    if found := BY_SLURM.search(message):
        return f"{SLURM_ENDS.get(found.group(1), 'ended')} {SILENT}"
    if found := BY_SBATCH.search(message):
        return f"could not be submitted: {' '.join(found.group(1).split())}"
    if found := BY_SIGNAL.search(message):
        return f"was killed by {found.group(1)} {SILENT}"
    if found := BY_STATUS.search(message):
        status = int(found.group(1))
        if status in SHELL_SIGNALS:
            return f"was killed by {SHELL_SIGNALS[status]} {SILENT}"
        return f"ended with exit status {status} {SILENT}"
    return f"was killed or cancelled {SILENT}"


class JobFailures(logging.Filter):
    """Listens to Snakemake's logger and says in one short block which job failed.

    Snakemake itself says so only where it shows every job too (``quiet: rules`` silences both). Its
    message that a script ended with an error adds nothing, and is left out.
    """

    def __init__(self, workflow: Any, logger: logging.Logger) -> None:
        super().__init__()
        self._workflow = workflow
        self._logger = logger
        self._started: dict[int, float] = {}
        self._ends: dict[int | None, str] = {}
        self._failed: dict[int, FailedJob] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Take note of a record of Snakemake's; return whether it is shown."""
        event = str(getattr(record, "event", None))
        if event == "job_started":
            self._started.update(dict.fromkeys(record.__dict__["jobs"], record.created))
        elif event == "error" and "CalledProcessError" in record.getMessage():
            self._ends[record.thread] = record.getMessage()
            return False
        elif event == "job_error":
            self._say(record)
        return True

    def _say(self, record: logging.LogRecord) -> None:
        about = record.__dict__
        end = f"{about.get('rule_msg') or ''} {self._ends.pop(record.thread, '')}"
        found = self._describe(about["jobid"], about["rule_name"], about["log"], end)
        self._failed[about["jobid"]] = found
        self._logger.error(f"failed: {found}")

    def _describe(self, jobid: int, rule: str, logs: Iterable[str], end: str) -> FailedJob:
        here = [log for log in logs if Path(log).is_file()]
        # A log that an earlier run left behind is not this job's.
        new = [log for log in here if Path(log).stat().st_mtime >= self._started.get(jobid, 0) - 1]
        reasons = [reason for log in new if (reason := said(log)) is not None]
        job = next((job for job in self._workflow.dag.jobs if job.jobid == jobid), None)
        wildcards = {} if job is None else dict(job.wildcards.items())
        return FailedJob(rule, wildcards, why(next(iter(reasons), None), end), tuple(new))

    def summary(self) -> str:
        """Return the list of all failed jobs, and how many were not run because of them."""
        scheduler = self._workflow.scheduler
        failed = [self._of(job) for each in scheduler.failed for job in _members(each)]
        lines = [f"failed: {job}" for job in sorted(failed, key=str)]
        cut_off = sum(len(list(_members(job))) for job in scheduler.running)
        counts = [
            f"{len(failed)} {'job' if len(failed) == 1 else 'jobs'} failed",
            *([f"{cut_off} cut off while running"] if cut_off else []),
            f"{len(scheduler.remaining_jobs)} not run because of that",
            f"{scheduler.finished_jobs} done",
        ]
        return "\n".join([*lines, "; ".join(counts)])

    def _of(self, job: Any) -> FailedJob:
        if job.jobid in self._failed:
            return self._failed[job.jobid]
        # Snakemake has said above which files are missing.
        reason = "ended without all of its files"
        return FailedJob(job.rule.name, dict(job.wildcards.items()), reason, tuple(job.log))


def _members(job: Any) -> Iterable[Any]:
    return job.jobs if job.is_group() else [job]


def watch_jobs(workflow: Any, logger: logging.Logger) -> None:
    """Have failed jobs named from now on; for a Snakefile, once."""
    logger.addFilter(JobFailures(workflow, logger))


def say_failed_jobs(logger: logging.Logger) -> None:
    """List the jobs that failed since `watch_jobs`; for ``onerror`` of a Snakefile."""
    for watching in logger.filters:
        if isinstance(watching, JobFailures):
            logger.error(watching.summary())
