"""Decide the claims of an ablation from the files of earlier stages."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from pesloss.claims.decide import decide_ablation
from pesloss.claims.measurement import LabelData
from pesloss.claims.runs import Study, comparisons
from pesloss.evaluation.results import RunResult, read_run
from pesloss.job.files import same_structures
from pesloss.spec.config import Ablation


def decide_from_files(
    name: str,
    ablation: Ablation,
    label_files: Sequence[Path],
    run_files: Sequence[Path],
    n_resamples: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decide an ablation.

    Parameters
    ----------
    name, ablation, n_resamples
        As in ``decide_ablation``.
    label_files
        Files of results/statistics/DATASET, any order.
    run_files
        A file in the folder of each run.
    """
    tuned = ablation.runs.tuned if ablation.runs else ()
    study = read_study(label_files, run_files, tuned)
    return decide_ablation(name, ablation, study.labels, study.comparisons, n_resamples)


def read_study(
    label_files: Sequence[Path],
    run_files: Sequence[Path],
    tuned: tuple[str, ...] = (),
    pooled: bool = False,
) -> Study:
    """Read labels and runs, as ``decide_from_files`` is given them.

    ``tuned`` names the settings that each loss chooses; ``pooled`` are runs of several ablations,
    see ``comparisons``.
    """
    folders = sorted({path.parent for path in label_files})
    labels = {folder.name: LabelData.read(folder) for folder in folders}
    results = sorted((read_run(path.parent) for path in run_files), key=lambda r: r.run)
    compared = [
        comparison
        for dataset, group in groupby(results, lambda r: r.run.dataset)
        for comparison in comparisons(
            [_of_dataset(result, labels[dataset]) for result in group],
            labels[dataset].labels,
            labels[dataset].statistics,
            tuned,
            pooled,
        )
    ]
    return Study(labels, tuple(compared))


def _of_dataset(result: RunResult, data: LabelData) -> RunResult:
    """Refuse a run that was judged on other structures than the dataset's held-out ones."""
    errors, labels = result.folder / "structures.csv.gz", f"labels of {data.dataset}"
    same_structures(result.structures.structure, errors, data.held_out.structure, labels)
    return result
