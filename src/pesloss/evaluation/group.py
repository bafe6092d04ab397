"""Train and evaluate runs in one job, from files to files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pesloss.evaluation.errors import Labelled, evaluate
from pesloss.spec.manifest import write_receipt
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.training.inputs import Inputs
from pesloss.training.job import Member, RunFiles, raise_failures, train_group


def make_group(
    runs: Sequence[Run],
    folder: Path,
    inputs: Inputs,
    labels: Path | str,
    model: ModelSpec,
    training: TrainingSpec,
    receipt: Path,
    say: Callable[[str], None],
    **options: Any,
) -> None:
    """Train runs that share their batches, evaluate each, and write the receipt of all.

    Parameters
    ----------
    runs
        See `pesloss.training.job.train_group`. Those that are done are not trained again, but
        evaluated again.
    folder
        Where the runs' folders lie.
    inputs, labels
        Of their dataset.
    model, training
        Their settings.
    receipt
        Written when all is done; beside it lies the checkpoint.
    say, options
        As in `train_group`.

    Raises
    ------
    PeslossError
        As `train_group`; also when runs have diverged: it names them, and the others are there
        with their evaluation, but no receipt.
    """
    members = [Member(run, files_of(folder / run.folder)) for run in runs]
    checkpoint = receipt.with_name("unfinished.pt")
    outcomes = train_group(members, inputs, model, training, checkpoint, say=say, **options)
    known = Labelled.read(inputs.graphs, labels)
    for outcome in outcomes:
        if outcome.state != "failed":
            evaluate(outcome.member.files.record.parent, known)
        else:
            say(f"failed: {outcome.failure}")
    raise_failures(outcomes)
    write_receipt(receipt, [member.files.record.parent for member in members])


def files_of(folder: Path) -> RunFiles:
    """Return the files of the training in a run's folder."""
    return RunFiles(
        record=folder / "record.json",
        weights=folder / "weights.pt",
        history=folder / "history.csv",
        loss_signal=folder / "loss_signal.csv.gz",
        gradient_signal=folder / "gradient_signal.csv",
        predictions=folder / "predictions.npz",
    )
