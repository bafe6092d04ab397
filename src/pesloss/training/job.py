"""Runs from files to files, several in one process where they share their batches."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pesloss import losses
from pesloss.data.graphs import Graphs
from pesloss.job import provenance
from pesloss.job.code_digest import code_digest
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import write_bytes, write_table, written_whole
from pesloss.model import devices, pair_kernels
from pesloss.model.batches import Batcher
from pesloss.model.potential import build_model
from pesloss.spec.manifest import RunFolder, write_manifest
from pesloss.spec.run import Run, settings_of
from pesloss.spec.settings import Device, ModelSpec, TrainingSpec
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.training.checkpoint import Checkpoint, Progress, packed
from pesloss.training.inputs import Inputs
from pesloss.training.loop import (
    Diverged,
    Training,
    deterministic,
    digest,
    predict,
    weights_digest,
)
from pesloss.training.objective import Objective, scales_of, targets

Watch = Callable[[range], Iterator[int]]


@dataclass(frozen=True)
class RunFiles:
    """The files of a finished run."""

    record: Path
    weights: Path
    history: Path
    loss_signal: Path
    gradient_signal: Path
    predictions: Path

    @property
    def trained(self) -> list[Path]:
        """What the record goes with."""
        return [path for name, path in vars(self).items() if name != "record"]

    @property
    def unfinished(self) -> Path:
        """Where the training is kept as long as it lasts."""
        return self.record.with_name("unfinished.pt")


@dataclass(frozen=True)
class Member:
    """One run of a group and where its files are to lie."""

    run: Run
    files: RunFiles


@dataclass(frozen=True)
class Outcome:
    """What became of a member of a group.

    Attributes
    ----------
    state
        ``trained`` now, ``done`` before, or ``failed``: no file of it was written.
    failure
        Why it failed, in one line that names the run; empty otherwise.
    """

    member: Member
    state: Literal["trained", "done", "failed"]
    failure: str = ""


def train_group(
    members: Sequence[Member],
    inputs: Inputs,
    model_spec: ModelSpec,
    training_spec: TrainingSpec,
    checkpoint: Path,
    checkpoint_seconds: float = 20.0,
    watch: Watch | None = None,
    device: Device = "cpu",
    say: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Train runs of one dataset, model, variant and seed in one process, each to its own files.

    What a caller may rely on:

    - A member ends with the same bits whatever the other members are, alone as well, and also when
      the group was cut off and goes on, or was cut off as another group.
    - Each member has its own record, as though it had been trained alone, but for what tells how
      it was made: ``group`` says how many were trained together and how long that took,
      ``seconds`` is the member's share of it, ``peak_memory_mib`` that of the whole process.
    - Files are whole or not there, and a record comes after all files that it goes with.
    - A member whose record is that of this very training (``training_key``: settings, data, code,
      arithmetic) and whose files are those of the record is ``done``: it is not trained again and
      none of its files is touched.
    - A member whose loss turns non-finite is ``failed``; the others go on. Nothing is raised for
      it: see `raise_failures`.
    - There is one checkpoint a group, from which unfinished members go on; it is removed when every
      member is trained, done or failed. One of other code, data or settings is void, which ``say``
      is told.

    Parameters
    ----------
    members
        At least one; the runs differ in losses, metric and force weight alone.
    inputs, model_spec, training_spec
        As the runs' settings are before the changes of their variant.
    checkpoint
        Where the unfinished group is kept.
    checkpoint_seconds
        Time between two checkpoints.
    watch
        Wraps the steps that are left.
    device
        Where to train.
    say
        Told, in single lines, what is trained how, which members are done, and which failed.

    Returns
    -------
    list of Outcome
        In the order of ``members``.

    Raises
    ------
    PeslossError
        For members that do not belong together, wrong settings and damaged inputs: nothing is
        trained then.
    """
    _check_members(members)
    outcomes = []
    for member in members:
        try:
            state = _train_member(
                member, inputs, model_spec, training_spec, checkpoint, checkpoint_seconds, watch,
                device, say,
            )  # fmt: skip
            outcomes.append(Outcome(member, state))
        except Diverged as error:
            checkpoint.unlink(missing_ok=True)
            outcomes.append(Outcome(member, "failed", f"{member.run.folder}: {error}"))
    return outcomes


def raise_failures(outcomes: Sequence[Outcome]) -> None:
    """Raise a PeslossError that names the failed members, if there are any."""
    lines = [outcome.failure for outcome in outcomes if outcome.state == "failed"]
    if lines:
        others = f" ({len(lines) - 1} other runs of the group failed, too)" * (len(lines) > 1)
        raise PeslossError(f"{lines[0]}{others}")


def train_run(
    run: Run,
    inputs: Inputs,
    model_spec: ModelSpec,
    training_spec: TrainingSpec,
    files: RunFiles,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 20.0,
    watch: Watch | None = None,
    device: Device = "cpu",
    say: Callable[[str], None] | None = None,
) -> None:
    """Train one run as a group of one: see `train_group`.

    Parameters are those of `train_group`; where no ``checkpoint`` is named it is
    ``files.unfinished``.

    Raises
    ------
    PeslossError
        For wrong settings, damaged inputs and losses that are not finite.
    """
    kept = checkpoint or files.unfinished
    member = Member(run, files)
    outcomes = train_group(
        [member], inputs, model_spec, training_spec, kept, checkpoint_seconds, watch, device, say
    )
    raise_failures(outcomes)


def _check_members(members: Sequence[Member]) -> None:
    """Refuse members that share no batches, or their files."""
    for key in ("dataset", "model", "variant", "seed"):
        values = [getattr(member.run, key) for member in members]
        other = [value for value in values if value != values[0]]
        if other:
            raise wrong_value("group of runs", key, other[0], f"{values[0]}, that of its first run")
    folders = [str(member.run.folder) for member in members]
    twice = [folder for folder in folders if folders.count(folder) > 1]
    if twice or not members:
        raise PeslossError(
            f"group of runs: {f'{twice[0]} is there twice' if twice else 'is empty'}"
        )


def _train_member(
    member: Member,
    inputs: Inputs,
    model_spec: ModelSpec,
    training_spec: TrainingSpec,
    checkpoint: Path,
    checkpoint_seconds: float,
    watch: Watch | None,
    device: Device,
    say: Callable[[str], None] | None,
) -> Literal["trained", "done"]:
    run, files = member.run, member.files
    started = time.perf_counter()
    # Asked first: what stops here would otherwise stop when all is trained.
    made_with = {**provenance.source().columns(), "versions": provenance.versions()}
    deterministic()
    model_spec, training_spec = settings_of(run, model_spec, training_spec)
    graphs, split, statistics = inputs.read(run.dataset)
    place = devices.choose(device)
    training = prepare(run, graphs, split, statistics, model_spec, training_spec, device=place)
    hashes = hashes_of(training, split, statistics, model_spec, training_spec)
    sums = pair_kernels.described(place)
    key = digest(str(run.folder), *hashes.values(), _code_digest(run), sums.partition(" (")[0])
    if is_done(files, key):
        if say:
            say(f"{run.folder}: done before, not trained again")
        return "done"
    kept = Checkpoint(checkpoint, key, checkpoint_seconds, say)
    if say:
        say(f"device: {hashes['device']}; sums over pairs: {sums}")
    progress = training.run(kept, watch)
    write_results(files, training, progress, split, statistics)
    seconds = round(time.perf_counter() - started, 2)
    record = {
        "run": str(run.folder),
        **run.columns,
        "model_settings": model_spec.model_dump(),
        "training_settings": training_spec.model_dump(),
        "hashes": {**hashes, "final_weights": weights_digest(training.model)},
        "n_train": len(training.train),
        "n_parameters": sum(p.numel() for p in training.model.parameters()),
        "final": progress.history[-1],
        "constants": training.objective.constants,
        "energy_loss_state": progress.energy_loss,
        "device": hashes["device"],
        "sums_over_pairs": sums,
        "training_key": key,
        **made_with,
        "seconds": seconds,
        "group": {"members": 1, "seconds": seconds},
        "peak_memory_mib": round(provenance.peak_memory_mib(), 1),
        "repeat_with": f"snakemake --cores 1 --force {files.record}",
    }
    write_manifest(files.record, record, files.trained)
    checkpoint.unlink(missing_ok=True)
    return "trained"


def is_done(files: RunFiles, key: str) -> bool:
    """Tell whether a record of the training ``key`` and its files are there, whole."""
    folder = RunFolder(files.record.parent)
    try:
        return folder.record.get("training_key") == key and all(
            folder.check(path.name).exists() for path in files.trained
        )
    except PeslossError:
        return False


def _code_digest(run: Run) -> str:
    """Return a digest of the code a training depends on: a checkpoint of other code is void."""
    chosen = (f"energy.{run.energy_loss}", f"forces.{run.force_loss}")
    return code_digest(__name__, *(f"pesloss.losses.{name}" for name in chosen))


def prepare(
    run: Run,
    graphs: Graphs,
    split: dict[str, NDArray[np.int64]],
    statistics: DatasetStatistics,
    model_spec: ModelSpec,
    training_spec: TrainingSpec,
    dtype: torch.dtype = torch.float32,
    device: torch.device = devices.CPU,
) -> Training:
    """Build model, objective and batches of a run; initial weights are drawn on the processor."""
    batcher = Batcher(graphs, dtype, device)
    train_atoms = batcher(split["train"]).atom
    unit = training_spec.units_per_ev
    scales = scales_of(statistics, unit)
    objective = Objective(
        targets(graphs, statistics, unit, dtype, device),
        losses.energy_loss(run.energy_loss)(scales),
        losses.force_loss(run.force_loss)(scales),
        split["train"],
        train_atoms,
        run.metric,
        run.force_weight,
        training_spec.huber_delta,
        training_spec.term_constants,
        unit,
    )
    outputs = scales.local_energy_scale
    if not training_spec.standardized_outputs:
        outputs = (1.0,) * len(outputs)
    scaled = replace(statistics, local_energy_scale=outputs)
    model = build_model(model_spec, scaled, run.seed).to(device, dtype)
    return Training(
        model,
        objective,
        graphs,
        batcher,
        split["train"],
        split["validation"],
        training_spec,
        run.seed,
    )


def hashes_of(
    training: Training,
    split: dict[str, NDArray[np.int64]],
    statistics: DatasetStatistics,
    model_spec: ModelSpec,
    training_spec: TrainingSpec,
) -> dict[str, str]:
    """Return what has to agree between two runs before they may be compared.

    The scale of the outputs is no part of ``initial_weights``: it follows from ``statistics`` and
    ``training``. ``training_in_ev`` is ``training`` but for the unit. ``device`` is a name as it
    stands.
    """
    graphs, in_ev = training.graphs, training_spec.model_copy(update={"units_per_ev": 1.0})
    parameters = training.model.named_parameters()
    return {
        "data": digest(
            graphs.structure, graphs.energy, graphs.positions, graphs.forces, graphs.numbers
        ),
        "split": digest(*split.values()),
        "statistics": digest(repr(statistics)),
        "model": digest(repr(model_spec)),
        "training": digest(repr(training_spec)),
        "training_in_ev": digest(repr(in_ev)),
        "initial_weights": digest(*(part for named in parameters for part in named)),
        "batches": digest(training.order()),
        "device": devices.described(training.batcher.device),
    }


def write_results(
    files: RunFiles,
    training: Training,
    progress: Progress,
    split: dict[str, NDArray[np.int64]],
    statistics: DatasetStatistics,
) -> None:
    """Write weights, curves, signals and the predictions of held-out structures."""
    write_bytes(files.weights, packed(_weights(training)))
    write_table(files.history, pd.DataFrame(progress.history))
    write_table(files.loss_signal, pd.concat(progress.loss_signal, ignore_index=True))
    write_table(files.gradient_signal, pd.concat(progress.gradient_signal, ignore_index=True))
    held_out = np.concatenate([split["validation"], split["test"]])
    with written_whole(files.predictions) as scratch, scratch.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **predictions(training, held_out, statistics))


def _weights(training: Training) -> dict[str, Any]:
    """Return weights and buffers in the processor's memory, to be read where there is no GPU."""
    state = training.model.state_dict()
    state.update({name: value.cpu() for name, value in state.items()})
    return state


def predictions(
    training: Training, chosen: NDArray[np.int64], statistics: DatasetStatistics
) -> dict[str, NDArray[Any]]:
    """Predict ``chosen``: energies (K,) eV, forces (A, 3) eV/Å and local energies (A,) eV."""
    parts: dict[str, list[NDArray[np.float64]]] = {"energy": [], "forces": [], "local_energy": []}
    labels, mean = training.objective.labels, np.asarray(statistics.mean)
    unit = training.spec.units_per_ev
    for batch, prediction in predict(training.model, training.batcher, chosen):
        baseline = labels.composition[batch.index].double().cpu().numpy() @ mean
        local_baseline = mean[labels.species[batch.atom].cpu().numpy()]
        parts["energy"].append(prediction.deviation.double().cpu().numpy() / unit + baseline)
        parts["forces"].append(prediction.forces.double().cpu().numpy() / unit)
        local = prediction.local_energy.double().cpu().numpy() / unit
        parts["local_energy"].append(local + local_baseline)
    return {
        "structure": training.graphs.structure[chosen],
        **{name: np.concatenate(values) for name, values in parts.items()},
    }
