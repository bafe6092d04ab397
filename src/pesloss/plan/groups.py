"""Which runs are trained in one job, and what of it has to be made again."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path, PurePosixPath

from pesloss.plan.cost import JOB_SECONDS, training_seconds
from pesloss.spec.manifest import damaged, lacking
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec

PATTERN = "{dataset}/{model}/{variant}/seed-{seed}/{batch}"
MOST_RUNS = 28
"""Of a job: more gain no time, and each takes memory."""
MOST_SECONDS = 3600.0
"""Of a job as far as it can be told: so that a cluster's limits are kept, and work is shared."""


@dataclass(frozen=True)
class Group:
    """Runs that share dataset, model, variant and seed, and so batches and initial weights."""

    runs: tuple[Run, ...]
    batch: int = 0
    """Which of the jobs that such runs are dealt to."""

    @property
    def folder(self) -> PurePosixPath:
        """Path below results/groups, unique to the group."""
        dataset, model, variant, *_ = self.runs[0].folder.parts
        return PurePosixPath(dataset, model, variant, f"seed-{self.runs[0].seed}", str(self.batch))

    @property
    def receipt(self) -> str:
        """The file that is there when all runs are evaluated, below the results folder."""
        return f"groups/{self.folder}/group.json"


def grouped(
    runs: Iterable[Run], models: Mapping[str, ModelSpec], training: TrainingSpec
) -> list[Group]:
    """Put runs into groups, as few as ``MOST_RUNS`` and ``MOST_SECONDS`` allow.

    Time counts as `training_seconds` tells it without measured rates: a group does not depend on
    how fast some machine was.

    Parameters
    ----------
    runs, models, training
        The plan.
    """
    ordered = sorted(runs, key=lambda run: (_shared(run), run))
    return [
        Group(part, batch)
        for _, members in groupby(ordered, _shared)
        for batch, part in enumerate(_dealt(tuple(members), models, training))
    ]


def _shared(run: Run) -> tuple[object, ...]:
    return run.dataset, run.model, run.changes, run.seed


def _dealt(
    runs: tuple[Run, ...], models: Mapping[str, ModelSpec], training: TrainingSpec
) -> list[tuple[Run, ...]]:
    """Cut runs that take equally long into parts of about equal number."""
    seconds, _ = training_seconds(runs[0], models[runs[0].model], training, {})
    most = max(1, min(MOST_RUNS, int((MOST_SECONDS - JOB_SECONDS) // seconds)))
    n_parts = math.ceil(len(runs) / most)
    cuts = [len(runs) * part // n_parts for part in range(n_parts + 1)]
    return [runs[first:last] for first, last in pairwise(cuts)]


def to_make_again(
    results: Path, groups: Sequence[Group], manifests: Iterable[str]
) -> dict[str, str]:
    """Return which results are not what they were, by path, and why, in one line.

    Parameters
    ----------
    results
        The results folder.
    groups
        The plan. A group whose receipt is there is made again when a file of a run is damaged or
        is not there; runs without fault stay as they are.
    manifests
        Paths of the runs' manifests below the results folder, see `damaged`.
    """
    found = {str(path): why for path, why in damaged(results / path for path in manifests)}
    faults = {Path(path).parent: why for path, why in found.items()}
    for group in groups:
        receipt = results / group.receipt
        if receipt.exists():
            missing = {str(path): why for path, why in lacking(receipt, results / "runs")}
            folders = [results / "runs" / run.folder for run in group.runs]
            whys = [*missing.values(), *(faults[path] for path in folders if path in faults)]
            found |= missing | {str(receipt): why for why in whys[:1]}
    return found
