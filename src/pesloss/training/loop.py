"""The training loop: same steps for every loss, resumable at any step bit for bit.

Trainings of the same data, model, settings and seed go through it together: they share batches.
"""

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pesloss.data.graphs import Graphs
from pesloss.job.errors import PeslossError
from pesloss.model.batches import Batcher
from pesloss.model.potential import Potential
from pesloss.spec.settings import TrainingSpec
from pesloss.training.adam import Adam
from pesloss.training.checkpoint import Checkpoint, Progress, Saved
from pesloss.training.learners import Learners, Predicted, Shared, Taken, learners
from pesloss.training.objective import Objective
from pesloss.training.signal import gradient_table, signal_sample

Watch = Callable[[range], Iterator[int]]


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

    def run(self, checkpoint: Checkpoint | None = None, watch: Watch | None = None) -> Progress:
        """Train to the last step, from the checkpoint where there is one.

        Raises
        ------
        PeslossError
            When the loss is not finite, naming the step and the structures.
        """
        found = train_together({"": self}, checkpoint, watch)[""]
        if isinstance(found, Diverged):
            raise found
        return found.progress


@dataclass(frozen=True)
class Trained:
    """A training that came to its end; the model has its last weights."""

    progress: Progress
    learners: Learners
    member: int

    def predict(self, chosen: NDArray[np.int64]) -> Predicted:
        """Predict structures."""
        return self.learners.predict([self.member], chosen)[0]


def train_together(
    trainings: Mapping[str, Training],
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
) -> dict[str, Trained | Diverged]:
    """Train to the last step, from the checkpoint where there is one.

    Each training ends with the bits that it has alone.

    Parameters
    ----------
    trainings
        By the names under which the checkpoint has them. They have all but the objective in
        common, and weights that are the same at the start.
    checkpoint
        Where all of them are kept.
    watch
        Wraps the steps that are left; called once for those that are at the same step.

    Returns
    -------
    dict
        By name what was trained, or why it was not trained on.
    """
    saved = checkpoint.load(_untrained(trainings)) if checkpoint else {}
    found: dict[str, Trained | Diverged] = {
        name: Diverged(state.failure) for name, state in saved.items() if state.failure
    }
    at = {name: saved[name].progress.step if name in saved else 0 for name in trainings}
    for step in sorted(set(at.values())):
        names = [name for name in trainings if at[name] == step and name not in found]
        if names:
            group = _Together({name: trainings[name] for name in names}, saved, checkpoint)
            found |= group.run(step, watch)
    return {name: found[name] for name in trainings}


def _untrained(trainings: Mapping[str, Training]) -> dict[str, Saved]:
    """Return what the states of a checkpoint have to be like."""
    model = next(iter(trainings.values())).model
    state = Saved(model.state_dict(), Adam(model.parameters()).state_dict(), Progress())
    return dict.fromkeys(trainings, state)


def learners_of(trainings: Sequence[Training]) -> Learners:
    """Return the models of trainings that share all but their objectives, ready to learn."""
    first = trainings[0]
    size = min(first.spec.batch_size, len(first.train))
    shared = Shared(first.graphs, first.batcher, size)
    return learners([t.model for t in trainings], [t.objective for t in trainings], shared)


class _Together:
    """Trainings at the same step, on their way."""

    def __init__(
        self,
        trainings: Mapping[str, Training],
        saved: dict[str, Saved],
        checkpoint: Checkpoint | None,
    ) -> None:
        self.names, self.trainings = list(trainings), list(trainings.values())
        self.first = self.trainings[0]
        self.spec, self.graphs = self.first.spec, self.first.graphs
        self.objectives = [training.objective for training in self.trainings]
        self.learners = learners_of(self.trainings)
        self.saved, self.checkpoint = saved, checkpoint
        self.progress = [Progress() for _ in self.names]
        self.failures: dict[int, Diverged] = {}
        for k, name in enumerate(self.names):
            if name in saved:
                self._go_on(k, saved[name])
        n_steps = self.spec.n_steps
        self.calibrations = [objective.calibrations(n_steps) for objective in self.objectives]

    def _go_on(self, k: int, saved: Saved) -> None:
        self.learners.restore(k, {"model": saved.model, "optimizer": saved.optimizer})
        self.progress[k] = saved.progress
        if saved.progress.window is not None:
            self.learners.signals[k].total[:] = saved.progress.window
        if saved.progress.energy_loss:
            self.objectives[k].load_energy_loss(saved.progress.energy_loss)
            self.learners.rescaled(k)

    @property
    def alive(self) -> list[int]:
        """Members that have not diverged."""
        return [k for k in range(len(self.names)) if k not in self.failures]

    def run(self, start: int, watch: Watch | None) -> dict[str, Trained | Diverged]:
        """Train from the step that all of them are at to the last one."""
        order, kept = self.first.order(), time.monotonic()
        steps = range(start, self.spec.n_steps)
        for step in watch(steps) if watch else steps:
            self._calibrate(step)
            self._observe(step)
            self._step(step, order[step])
            if self.checkpoint and time.monotonic() - kept >= self.checkpoint.every_seconds:
                self._save(self.checkpoint)
                kept = time.monotonic()
            if not self.alive:
                break
        self._observe(self.spec.n_steps)
        self.learners.finish()
        self.saved |= self._states()
        return {
            name: self.failures.get(k) or Trained(self.progress[k], self.learners, k)
            for k, name in enumerate(self.names)
        }

    def _save(self, checkpoint: Checkpoint) -> None:
        checkpoint.save({**self.saved, **self._states()})

    def _states(self) -> dict[str, Saved]:
        found = {}
        for k, name in enumerate(self.names):
            state = self.learners.state(k)
            progress = replace(self.progress[k], window=self.learners.signals[k].total)
            failure = str(self.failures.get(k, ""))
            found[name] = Saved(state["model"], state["optimizer"], progress, failure)
        return found

    def _calibrate(self, step: int) -> None:
        due = [k for k in self.alive if step in self.calibrations[k]]
        if not due:
            return
        found = self.learners.errors(due, self.first.train)
        for k, (residual, _) in zip(due, found, strict=True):
            objective = self.objectives[k]
            objective.calibrate(residual)
            self.progress[k].energy_loss = objective.energy_loss.state_dict()
            self.learners.rescaled(k)

    def _step(self, step: int, chosen: NDArray[np.int64]) -> None:
        alive = self.alive
        found = self.learners.step(alive, chosen, learning_rate(step, self.spec))
        for k, taken in zip(alive, found, strict=True):
            if not math.isfinite(taken.loss):
                self.failures[k] = self._not_finite(step, chosen, taken)
            self.progress[k].recent.append((taken.energy, taken.force))
            self.progress[k].step = step + 1

    def _not_finite(self, step: int, chosen: NDArray[np.int64], taken: Taken) -> Diverged:
        bad = ~(np.isfinite(taken.energy_terms) & np.isfinite(taken.force_sums))
        which = chosen[bad] if bad.any() else chosen
        return _diverged("loss", step, self.graphs.structure[which])

    def _observe(self, step: int) -> None:
        spec = self.spec
        marks = {round(share * spec.n_steps) for share in spec.signal_at}
        if step in marks:
            self._measure(step)
        every = max(1, spec.n_steps // spec.n_validations)
        if step == spec.n_steps or step % every == 0:
            self._validate(step)

    def _measure(self, step: int) -> None:
        graphs, unit = self.graphs, self.spec.units_per_ev
        sample = signal_sample(graphs, self.first.train, self.spec.n_signal_structures)
        alive = self.alive
        found = self.learners.gradient_norms(alive, sample)
        for k, norms in zip(alive, found, strict=True):
            progress = self.progress[k]
            if step > 0:
                progress.loss_signal.append(self.learners.signals[k].table(step, graphs))
            progress.gradient_signal.append(gradient_table(norms, graphs, sample, step, unit))

    def _validate(self, step: int) -> None:
        n = self.spec.n_validation_structures
        chosen = signal_sample(self.graphs, self.first.validation, n)
        alive = self.alive
        found = self.learners.errors(alive, chosen)
        for k, errors in zip(alive, found, strict=True):
            parts = [part / self.spec.units_per_ev for part in errors]
            bad = _not_finite(parts, self.graphs.n_atoms[chosen])
            if bad.any():
                names = self.graphs.structure[chosen[bad]]
                self.failures[k] = _diverged("validation error", step, names)
            else:
                self.progress[k].history.append(self._point(step, chosen, parts, k))
            self.progress[k].recent = []

    def _point(
        self, step: int, chosen: NDArray[np.int64], errors: Sequence[NDArray[np.float64]], k: int
    ) -> dict[str, float]:
        energy_error, force_error = errors
        n, terms = self.graphs.n_atoms[chosen], self.progress[k].recent
        recent = np.mean(terms, axis=0) if terms else (math.nan, math.nan)
        return {
            "step": step,
            "learning_rate": learning_rate(min(step, self.spec.n_steps - 1), self.spec),
            "energy_loss": float(recent[0]),
            "force_loss": float(recent[1]),
            "energy_rmse_ev": float(np.sqrt(np.mean(energy_error**2))),
            "energy_rmse_ev_per_atom": float(np.sqrt(np.mean((energy_error / n) ** 2))),
            "force_rmse_ev_per_angstrom": float(np.sqrt(np.mean(force_error**2))),
        }


def _not_finite(
    errors: Sequence[NDArray[np.float64]], n_atoms: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which structures have an error of energy (S,) or forces (A, 3) that is not finite."""
    energy, force = errors
    owner = np.repeat(np.arange(len(n_atoms)), n_atoms)
    bad: NDArray[np.bool_] = ~np.isfinite(energy)
    bad[owner[~np.isfinite(force).all(axis=1)]] = True
    return bad


def _diverged(what: str, step: int, names: NDArray[np.str_]) -> Diverged:
    some = ", ".join(str(name) for name in names)
    return Diverged(
        f"training: {what} is not finite at step {step} on structure {some}; nothing was written"
    )
