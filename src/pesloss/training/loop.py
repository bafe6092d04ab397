"""The training loop: same steps for every loss, resumable at any step bit for bit."""

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pesloss.data.graphs import Graphs
from pesloss.job.errors import PeslossError
from pesloss.model.batches import Batch, Batcher
from pesloss.model.potential import Potential, Prediction
from pesloss.spec.settings import TrainingSpec
from pesloss.training.adam import Adam
from pesloss.training.checkpoint import Checkpoint, Progress
from pesloss.training.objective import Objective
from pesloss.training.signal import LossSignal, gradient_signal, signal_sample


class Diverged(PeslossError):
    """A loss or an error is not finite: the training cannot go on."""


def deterministic() -> None:
    """Put torch into the state every job trains in: one thread, deterministic algorithms.

    Nothing here reads memory that was not written; filling it first would only take time. Numbers
    below 1e-38, the far ends of Gaussians, are zero: a processor multiplies them slowly. A GPU's
    matrix products are repeatable with the fixed workspace that is set here, before CUDA starts.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def batch_order(train: NDArray[np.int64], size: int, n_steps: int, seed: int) -> NDArray[np.int64]:
    """Return the structures of every step, shape (n_steps, min(size, len(train))).

    Each epoch is a permutation of the training structures that depends on the seed and the number
    of the epoch alone; an incomplete last batch of an epoch is left out.
    """
    size = min(size, len(train))
    per_epoch = len(train) // size
    epochs = [
        np.random.default_rng([seed, epoch]).permutation(train)[: per_epoch * size]
        for epoch in range(math.ceil(n_steps / per_epoch))
    ]
    order: NDArray[np.int64] = np.concatenate(epochs).reshape(-1, size)[:n_steps]
    return order


def learning_rate(step: int, spec: TrainingSpec) -> float:
    """Return the rate of a step: linear warm-up, then a cosine down to zero."""
    warmup = spec.warmup_fraction * spec.n_steps
    if step < warmup:
        return spec.learning_rate * (step + 1) / (warmup + 1)
    return (
        spec.learning_rate
        * 0.5
        * (1 + math.cos(math.pi * (step - warmup) / (spec.n_steps - warmup)))
    )


def digest(*arrays: NDArray[Any] | Tensor | str) -> str:
    """Return the SHA-256 of arrays' bytes, shapes and types."""
    sha = hashlib.sha256()
    for array in arrays:
        values = array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
        sha.update(f"{values.dtype}{values.shape}".encode())
        sha.update(np.ascontiguousarray(values).tobytes())
    return sha.hexdigest()


def weights_digest(model: Potential) -> str:
    """Return the SHA-256 of all weights and buffers with their names."""
    return digest(*(part for name, value in model.state_dict().items() for part in (name, value)))


@dataclass(frozen=True)
class Training:
    """One training and all it needs."""

    model: Potential
    objective: Objective
    graphs: Graphs
    batcher: Batcher
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    spec: TrainingSpec
    seed: int

    def order(self) -> NDArray[np.int64]:
        """Return the structures of every step."""
        return batch_order(self.train, self.spec.batch_size, self.spec.n_steps, self.seed)

    def run(
        self,
        checkpoint: Checkpoint | None = None,
        watch: Callable[[range], Iterator[int]] | None = None,
    ) -> Progress:
        """Train to the last step, from the checkpoint where there is one.

        Raises
        ------
        PeslossError
            When the loss is not finite, naming the step and the structures.
        """
        optimizer = Adam(self.model.parameters())
        progress = checkpoint.load(self.model, optimizer) if checkpoint else Progress()
        signal = LossSignal(len(self.graphs.n_atoms))
        if progress.window is not None:
            signal.total[:] = progress.window
        if progress.energy_loss:
            self.objective.load_energy_loss(progress.energy_loss)
        calibrations = self.objective.calibrations(self.spec.n_steps)
        order, saved = self.order(), time.monotonic()
        steps = range(progress.step, self.spec.n_steps)
        for step in watch(steps) if watch else steps:
            if step in calibrations:
                self._calibrate(progress)
            self._observe(step, progress, signal)
            self.step(step, self.batcher(order[step]), optimizer, progress, signal)
            progress.step = step + 1
            if checkpoint and time.monotonic() - saved >= checkpoint.every_seconds:
                progress.window = signal.total
                checkpoint.save(self.model, optimizer, progress)
                saved = time.monotonic()
        self._observe(self.spec.n_steps, progress, signal)
        return progress

    def _calibrate(self, progress: Progress) -> None:
        residual, _ = errors(self.model, self.objective, self.batcher, self.train)
        self.objective.calibrate(residual)
        progress.energy_loss = self.objective.energy_loss.state_dict()

    def step(
        self,
        step: int,
        batch: Batch,
        optimizer: Adam,
        progress: Progress,
        signal: LossSignal,
    ) -> None:
        """Take one optimiser step and note its losses in ``progress`` and ``signal``."""
        prediction = self.model(batch)
        energy = self.objective.energy_terms(batch, prediction)
        force = self.objective.force_terms(batch, prediction)
        loss = energy.mean() + self.objective.force_weight * force.mean()
        if not bool(loss.isfinite()):
            raise Diverged(self._not_finite(step, batch, prediction))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(learning_rate(step, self.spec))
        signal.add(batch.index, energy, self.model.total(batch, force.sum(dim=1)))
        progress.recent.append((energy.mean().item(), force.mean().item()))

    def _not_finite(self, step: int, batch: Batch, prediction: Prediction) -> str:
        bad_atom = ~self.objective.force_terms(batch, prediction).isfinite().all(dim=1)
        bad = ~self.objective.energy_terms(batch, prediction).isfinite()
        bad[batch.structure[bad_atom]] = True
        some = np.flatnonzero(bad.cpu().numpy())
        chosen = some if len(some) else np.arange(len(batch.index))
        names = ", ".join(str(self.graphs.structure[batch.index[i]]) for i in chosen)
        return (
            f"training: loss is not finite at step {step} on structure {names}; nothing was written"
        )

    def _observe(self, step: int, progress: Progress, signal: LossSignal) -> None:
        spec = self.spec
        marks = {round(share * spec.n_steps) for share in spec.signal_at}
        if step in marks:
            if step > 0:
                progress.loss_signal.append(signal.table(step, self.graphs))
            sample = signal_sample(self.graphs, self.train, spec.n_signal_structures)
            progress.gradient_signal.append(
                gradient_signal(self.model, self.objective, self.batcher, self.graphs, sample, step)
            )
        every = max(1, spec.n_steps // spec.n_validations)
        if step == spec.n_steps or step % every == 0:
            progress.history.append(self._validate(step, progress))
            progress.recent = []

    def _validate(self, step: int, progress: Progress) -> dict[str, float]:
        chosen = signal_sample(self.graphs, self.validation, self.spec.n_validation_structures)
        found = errors(self.model, self.objective, self.batcher, chosen)
        energy_error, force_error = (part / self.spec.units_per_ev for part in found)
        n = self.graphs.n_atoms[chosen]
        owner = np.repeat(np.arange(len(chosen)), n)
        bad = ~np.isfinite(energy_error)
        bad[owner[~np.isfinite(force_error).all(axis=1)]] = True
        if bad.any():
            names = ", ".join(str(name) for name in self.graphs.structure[chosen[bad]])
            raise Diverged(
                f"training: validation error is not finite at step {step} on structure {names}; "
                "nothing was written"
            )
        recent = np.mean(progress.recent, axis=0) if progress.recent else (math.nan, math.nan)
        return {
            "step": step,
            "learning_rate": learning_rate(min(step, self.spec.n_steps - 1), self.spec),
            "energy_loss": float(recent[0]),
            "force_loss": float(recent[1]),
            "energy_rmse_ev": float(np.sqrt(np.mean(energy_error**2))),
            "energy_rmse_ev_per_atom": float(np.sqrt(np.mean((energy_error / n) ** 2))),
            "force_rmse_ev_per_angstrom": float(np.sqrt(np.mean(force_error**2))),
        }


def predict(
    model: Potential, batcher: Batcher, chosen: NDArray[np.int64], atoms_per_batch: int = 1500
) -> Iterator[tuple[Batch, Prediction]]:
    """Predict ``chosen`` structures in batches of about ``atoms_per_batch`` atoms, in order."""
    sizes = batcher.n_atoms.cpu().numpy()[chosen]
    part = np.cumsum(sizes) // atoms_per_batch
    for index in np.split(chosen, np.flatnonzero(np.diff(part)) + 1):
        batch = batcher(index)
        prediction = model(batch, differentiable=False)
        yield batch, Prediction(*(value.detach() for value in prediction))


def errors(
    model: Potential, objective: Objective, batcher: Batcher, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return errors of energies (K,) and forces (A, 3) in the unit of the training, eV or other."""
    energy, force = [], []
    for batch, prediction in predict(model, batcher, chosen):
        energy.append(prediction.deviation - objective.labels.deviation[batch.index])
        force.append(prediction.forces - objective.labels.forces[batch.atom])
    return torch.cat(energy).double().cpu().numpy(), torch.cat(force).double().cpu().numpy()
