"""Train and evaluate runs in one job, from files to files."""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pesloss.evaluation.errors import Labelled, evaluate
from pesloss.job.errors import PeslossError
from pesloss.spec.manifest import write_receipt
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.training.inputs import Inputs
from pesloss.training.job import Member, Outcome, RunFiles, raise_failures, train_group

Train = Callable[[Sequence[Member]], list[Outcome]]


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
        As `train_group`; also when runs have failed: it names them, and the others are there
        with their evaluation, but no receipt.
    """
    members = [Member(run, files_of(folder / run.folder)) for run in runs]
    checkpoint = receipt.with_name("unfinished.pt")

    def train(some: Sequence[Member]) -> list[Outcome]:
        return train_group(some, inputs, model, training, checkpoint, say=say, **options)

    outcomes = _each(members, train, say)
    known = Labelled.read(inputs.graphs, labels)
    for outcome in outcomes:
        if outcome.state != "failed":
            evaluate(outcome.member.files.record.parent, known)
        else:
            say(f"failed: {outcome.failure}")
    raise_failures(outcomes)
    write_receipt(receipt, [member.files.record.parent for member in members])


def _each(members: Sequence[Member], train: Train, say: Callable[[str], None]) -> list[Outcome]:
    """Train members together; where that fails, one by one, so that whose fault it is fails alone.

    A loss that somebody is writing may fail in other ways than by diverging. What fails for all of
    them is not theirs and is raised as it came.
    """
    try:
        return train(members)
    except (MemoryError, OSError):
        raise
    except Exception:
        if len(members) == 1:
            raise
        outcomes = [_alone(member, train, say) for member in members]
        if all(outcome.state == "failed" for outcome in outcomes):
            raise
        return outcomes


def _alone(member: Member, train: Train, say: Callable[[str], None]) -> Outcome:
    try:
        return train([member])[0]
    except (MemoryError, OSError):
        raise
    except PeslossError as error:
        return Outcome(member, "failed", f"{member.run.folder}: {error}")
    except Exception as error:
        say(traceback.format_exc())
        what = " ".join(traceback.format_exception_only(error)[-1].split())
        return Outcome(member, "failed", f"{member.run.folder}: {what}")


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
