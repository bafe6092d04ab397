"""Runs from files to files, several in one process where they share their batches."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

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
from pesloss.training.learners import Predicted, described
from pesloss.training.loop import (
    Diverged,
    Training,
    Watch,
    deterministic,
    digest,
    train_together,
    weights_digest,
)
from pesloss.training.objective import Objective, Targets, scales_of, targets


class Predicting(Protocol):
    """What predicts structures."""

    def predict(self, chosen: NDArray[np.int64]) -> Predicted:
        """Predict structures."""
        ...


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
    group = _Group(members, inputs, model_spec, training_spec, device, say)
    waiting = [member for member in members if not group.is_done(member)]
    failures = {}
    if waiting:
        kept = Checkpoint(checkpoint, group.shared_key, checkpoint_seconds, say)
        failures = group.train(waiting, kept, watch)
    if checkpoint.is_file():
        checkpoint.unlink()
    return [_outcome(member, member in waiting, failures.get(member, "")) for member in members]


def _outcome(member: Member, was_waiting: bool, failure: str) -> Outcome:
    if failure:
        return Outcome(member, "failed", failure)
    return Outcome(member, "trained" if was_waiting else "done")


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


class _Group:
    """What the members of a group have in common, read once."""

    def __init__(
        self,
        members: Sequence[Member],
        inputs: Inputs,
        model_spec: ModelSpec,
        training_spec: TrainingSpec,
        device: Device,
        say: Callable[[str], None] | None,
    ) -> None:
        self.started = time.perf_counter()
        # Asked first: what stops here would otherwise stop when all is trained.
        self.made_with = {**provenance.source().columns(), "versions": provenance.versions()}
        deterministic()
        run = members[0].run
        self.specs = settings_of(run, model_spec, training_spec)
        self.graphs, self.split, self.statistics = inputs.read(run.dataset)
        place = devices.choose(device)
        self.first = prepare(
            run, self.graphs, self.split, self.statistics, *self.specs, device=place
        )
        self.hashes = hashes_of(self.first, self.split, self.statistics, *self.specs)
        self.how = {
            "device": self.hashes["device"],
            "step": described(self.first.model, place),
            "sums_over_pairs": pair_kernels.described(place),
        }
        self.say = say or (lambda line: None)

    @property
    def shared_key(self) -> str:
        """What tells apart trainings that differ in more than losses, metric and force weight."""
        arithmetic = (self.how[key].partition(" (")[0] for key in ("step", "sums_over_pairs"))
        return digest(*self.hashes.values(), *arithmetic, code_digest(__name__))

    def key(self, run: Run) -> str:
        """What tells apart trainings."""
        return digest(str(run.folder), self.shared_key, _code_digest(run))

    def is_done(self, member: Member) -> bool:
        """Tell whether a member's record and files are there, whole and of this training."""
        done = is_done(member.files, self.key(member.run))
        if done:
            self.say(f"{member.run.folder}: done before, not trained again")
        return done

    def train(
        self, members: Sequence[Member], checkpoint: Checkpoint, watch: Watch | None
    ) -> dict[Member, str]:
        """Train members and write their files; return why members failed."""
        how = "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in self.how.items())
        self.say(f"{how}; runs: {len(members)}")
        trainings = {self.key(member.run): self._training(member.run) for member in members}
        found = train_together(trainings, checkpoint, watch)
        failures, trained = {}, {}
        for member, (key, result) in zip(members, found.items(), strict=True):
            if isinstance(result, Diverged):
                failures[member] = f"{member.run.folder}: {result}"
                self.say(failures[member])
            else:
                trained[member] = result
                held_out = np.concatenate([self.split["validation"], self.split["test"]])
                predicted = predictions(trainings[key], result, held_out, self.statistics)
                write_results(member.files, trainings[key], result.progress, predicted)
        seconds = time.perf_counter() - self.started
        for member, result in trained.items():
            key = self.key(member.run)
            self._write_record(member, trainings[key], result.progress, seconds, len(members))
        return failures

    def _training(self, run: Run) -> Training:
        return alike(self.first, run, self.statistics)

    def _write_record(
        self, member: Member, training: Training, progress: Progress, seconds: float, n: int
    ) -> None:
        model_spec, training_spec = self.specs
        model, files = training.model, member.files
        record = {
            "run": str(member.run.folder),
            **member.run.columns,
            "model_settings": model_spec.model_dump(),
            "training_settings": training_spec.model_dump(),
            "hashes": {**self.hashes, "final_weights": weights_digest(model)},
            "n_train": len(training.train),
            "n_parameters": sum(p.numel() for p in model.parameters()),
            "final": progress.history[-1],
            "constants": training.objective.constants,
            "energy_loss_state": progress.energy_loss,
            **self.how,
            "training_key": self.key(member.run),
            **self.made_with,
            "seconds": round(seconds / n, 2),
            "group": {"members": n, "seconds": round(seconds, 2)},
            "peak_memory_mib": round(provenance.peak_memory_mib(), 1),
            "repeat_with": f"snakemake --cores 1 --force {files.record}",
        }
        write_manifest(files.record, record, files.trained)


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
    labels = targets(graphs, statistics, training_spec.units_per_ev, dtype, device)
    objective = _objective(run, labels, batcher, split["train"], statistics, training_spec)
    outputs = scales_of(statistics, training_spec.units_per_ev).local_energy_scale
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


def alike(training: Training, run: Run, statistics: DatasetStatistics) -> Training:
    """Return an untrained copy of an untrained training, under the losses of another run."""
    objective = _objective(
        run,
        training.objective.labels,
        training.batcher,
        training.train,
        statistics,
        training.spec,
    )
    return replace(training, model=copy.deepcopy(training.model), objective=objective)


def _objective(
    run: Run,
    labels: Targets,
    batcher: Batcher,
    train: NDArray[np.int64],
    statistics: DatasetStatistics,
    spec: TrainingSpec,
) -> Objective:
    scales = scales_of(statistics, spec.units_per_ev)
    return Objective(
        labels,
        losses.energy_loss(run.energy_loss)(scales),
        losses.force_loss(run.force_loss)(scales),
        train,
        batcher(train).atom,
        run.metric,
        run.force_weight,
        spec.huber_delta,
        spec.term_constants,
        spec.units_per_ev,
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
    files: RunFiles, training: Training, progress: Progress, predicted: Mapping[str, NDArray[Any]]
) -> None:
    """Write weights, curves, signals and the predictions of held-out structures."""
    write_bytes(files.weights, packed(_weights(training)))
    write_table(files.history, pd.DataFrame(progress.history))
    write_table(files.loss_signal, pd.concat(progress.loss_signal, ignore_index=True))
    write_table(files.gradient_signal, pd.concat(progress.gradient_signal, ignore_index=True))
    with written_whole(files.predictions) as scratch, scratch.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **predicted)


def _weights(training: Training) -> dict[str, Any]:
    """Return weights and buffers in the processor's memory, to be read where there is no GPU."""
    state = training.model.state_dict()
    state.update({name: value.cpu() for name, value in state.items()})
    return state


def predictions(
    training: Training,
    trained: Predicting,
    chosen: NDArray[np.int64],
    statistics: DatasetStatistics,
) -> dict[str, NDArray[Any]]:
    """Predict ``chosen``: energies (K,) eV, forces (A, 3) eV/Å and local energies (A,) eV."""
    labels, mean = training.objective.labels, np.asarray(statistics.mean)
    found, unit = trained.predict(chosen), training.spec.units_per_ev
    composition = labels.composition[chosen].double().cpu().numpy()
    species = labels.species[training.batcher(chosen).atom].cpu().numpy()
    return {
        "structure": training.graphs.structure[chosen],
        "energy": found.deviation / unit + composition @ mean,
        "forces": found.forces / unit,
        "local_energy": found.local_energy / unit + mean[species],
    }
