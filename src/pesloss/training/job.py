"""One run from files to files."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pesloss import losses
from pesloss.data.graphs import Graphs
from pesloss.job import provenance
from pesloss.job.code_digest import code_digest
from pesloss.job.files import write_bytes, write_table, written_whole
from pesloss.model import devices, pair_kernels
from pesloss.model.batches import Batcher
from pesloss.model.potential import build_model
from pesloss.spec.manifest import write_manifest
from pesloss.spec.run import Run, settings_of
from pesloss.spec.settings import Device, ModelSpec, TrainingSpec
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.training.checkpoint import Checkpoint, Progress, packed
from pesloss.training.inputs import Inputs
from pesloss.training.loop import Training, deterministic, digest, predict, weights_digest
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
    """Train, predict the held-out structures and write every file of the run.

    A run that was cut off goes on from ``checkpoint``, ``files.unfinished`` where none is named,
    and ends with the same bits; the checkpoint is removed when the run is whole. The record has the
    name of the ``device``, and a checkpoint of another one is void. ``say`` is told what the run
    trains on, and of a checkpoint that is void.

    Raises
    ------
    PeslossError
        For wrong settings, damaged inputs and losses that are not finite.
    """
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
    checkpoint = checkpoint or files.unfinished
    kept = Checkpoint(checkpoint, key, checkpoint_seconds, say)
    if say:
        say(f"device: {hashes['device']}; sums over pairs: {sums}")
    progress = training.run(kept, watch)
    write_results(files, training, progress, split, statistics)
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
        **made_with,
        "seconds": round(time.perf_counter() - started, 2),
        "peak_memory_mib": round(provenance.peak_memory_mib(), 1),
        "repeat_with": f"snakemake --cores 1 --force {files.record}",
    }
    write_manifest(files.record, record, files.trained)
    checkpoint.unlink(missing_ok=True)


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
