"""Models that learn together: the same batches, each its own loss, weights and optimiser.

There are two kinds with one face, in C and in torch. What a model becomes does not depend on who
learns beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pesloss.data.graphs import Graphs
from pesloss.model import compiled, pair_kernels
from pesloss.model.batches import Batch, Batcher
from pesloss.model.potential import Potential
from pesloss.training import compiled_step
from pesloss.training.adam import Adam
from pesloss.training.objective import Objective
from pesloss.training.predicting import predict
from pesloss.training.signal import LossSignal, gradient_norms

State = dict[str, Any]


class Taken(NamedTuple):
    """A step of one model: means of its terms, its loss, and its terms by structure (B,)."""

    energy: float
    force: float
    loss: float
    energy_terms: NDArray[np.floating]
    force_sums: NDArray[np.floating]


class Predicted(NamedTuple):
    """What a model says of S structures with A atoms, in the unit of the training."""

    deviation: NDArray[np.float64]  # (S,) the energy less Σ μ_z
    forces: NDArray[np.float64]  # (A, 3)
    local_energy: NDArray[np.float64]  # (A,) the parts of ``deviation``


@dataclass(frozen=True)
class Shared:
    """What models that learn together have in common."""

    graphs: Graphs
    batcher: Batcher
    batch_size: int


class Learners(ABC):
    """K models; methods take the places of those that are meant.

    Attributes
    ----------
    signals
        Each model's sums of terms since the last table.
    """

    def __init__(
        self, models: Sequence[Potential], objectives: Sequence[Objective], shared: Shared
    ) -> None:
        self.models, self.objectives, self.shared = list(models), list(objectives), shared
        total = np.zeros((len(models), len(shared.graphs.n_atoms), 3))
        self.signals = [LossSignal(of_one) for of_one in total]

    @abstractmethod
    def step(self, members: Sequence[int], chosen: NDArray[np.int64], rate: float) -> list[Taken]:
        """Take one step of every model whose loss is finite, and add its terms to its signal."""

    @abstractmethod
    def predict(self, members: Sequence[int], chosen: NDArray[np.int64]) -> list[Predicted]:
        """Predict structures."""

    @abstractmethod
    def gradient_norms(
        self, members: Sequence[int], sample: NDArray[np.int64]
    ) -> list[NDArray[np.float64]]:
        """Measure gradients of single structures, each as `pesloss.training.signal` does."""

    @abstractmethod
    def state(self, member: int) -> State:
        """Return weights (``model``) and Adam's moments (``optimizer``) of a model."""

    @abstractmethod
    def restore(self, member: int, state: State) -> None:
        """Go on from what `state` returned."""

    def rescaled(self, member: int) -> None:  # noqa: B027  nothing to do where none are kept
        """Take note that the scales of a model's objective are others now."""

    def finish(self) -> None:  # noqa: B027
        """Leave the weights in the models."""

    def errors(
        self, members: Sequence[int], chosen: NDArray[np.int64]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return errors of energies (S,) and forces (A, 3) in the unit of the training."""
        labels = self.objectives[0].labels
        atoms = self.shared.batcher(chosen).atom
        energy, forces = (
            values.double().cpu().numpy()
            for values in (labels.deviation[chosen], labels.forces[atoms])
        )
        return [
            (found.deviation - energy, found.forces - forces)
            for found in self.predict(members, chosen)
        ]


class InTorch(Learners):
    """Models one after the other in torch, on any device."""

    def __init__(
        self,
        models: Sequence[Potential],
        objectives: Sequence[Objective],
        shared: Shared,
        fused: bool = True,
    ) -> None:
        super().__init__(models, objectives, shared)
        self.optimizers = [Adam(model.parameters(), fused=fused) for model in models]

    def step(self, members: Sequence[int], chosen: NDArray[np.int64], rate: float) -> list[Taken]:
        """Take one step of every model whose loss is finite, and add its terms to its signal."""
        batch = self.shared.batcher(chosen)
        found = []
        for k in members:
            taken = torch_step(self.models[k], self.objectives[k], batch, self.optimizers[k], rate)
            if np.isfinite(taken.loss):
                self.signals[k].add(chosen, taken.energy_terms, taken.force_sums)
            found.append(taken)
        return found

    def predict(self, members: Sequence[int], chosen: NDArray[np.int64]) -> list[Predicted]:
        """Predict structures."""
        found = []
        for k in members:
            parts = [part for _, part in predict(self.models[k], self.shared.batcher, chosen)]
            columns = zip(*parts, strict=True)
            found.append(Predicted(*(torch.cat(c).double().cpu().numpy() for c in columns)))
        return found

    def gradient_norms(
        self, members: Sequence[int], sample: NDArray[np.int64]
    ) -> list[NDArray[np.float64]]:
        """Measure gradients of single structures."""
        batcher = self.shared.batcher
        return [
            gradient_norms(self.models[k], self.objectives[k], batcher, sample) for k in members
        ]

    def state(self, member: int) -> State:
        """Return weights and moments of a model."""
        model, optimizer = self.models[member], self.optimizers[member]
        return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}

    def restore(self, member: int, state: State) -> None:
        """Go on from what `state` returned."""
        self.models[member].load_state_dict(state["model"])
        self.optimizers[member].load_state_dict(state["optimizer"])


def torch_step(
    model: Potential, objective: Objective, batch: Batch, optimizer: Adam, rate: float
) -> Taken:
    """Take one step of one model in torch, unless its loss is not finite."""
    prediction = model(batch)
    energy = objective.energy_terms(batch, prediction)
    force = objective.force_terms(batch, prediction)
    loss = energy.mean() + objective.force_weight * force.mean()
    taken = Taken(
        energy.mean().item(),
        force.mean().item(),
        loss.item(),
        energy.detach().cpu().numpy(),
        model.total(batch, force.detach().sum(dim=1)).cpu().numpy(),
    )
    if np.isfinite(taken.loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(rate)
    return taken


class InC(Learners):
    """Stack on the processor, stacked, in C."""

    def __init__(
        self,
        models: Sequence[Potential],
        objectives: Sequence[Objective],
        shared: Shared,
        instructions: str | None = None,
        clock: bool = False,
    ) -> None:
        super().__init__(models, objectives, shared)
        given = (shared.graphs, shared.batcher, shared.batch_size, instructions, clock)
        self.stack = compiled_step.Stack(models, objectives, *given)
        self.signals = [LossSignal(of_one) for of_one in self.stack.total]

    def step(self, members: Sequence[int], chosen: NDArray[np.int64], rate: float) -> list[Taken]:
        """Take one step of every model whose loss is finite, and add its terms to its signal."""
        found, terms = self.stack.step(members, chosen, rate)
        return [Taken(*row, *of) for row, of in zip(found.tolist(), terms, strict=True)]

    def predict(self, members: Sequence[int], chosen: NDArray[np.int64]) -> list[Predicted]:
        """Predict structures."""
        n = self.shared.graphs.n_atoms[chosen]
        starts = np.cumsum(n) - n
        local, forces = (v.double().numpy() for v in self.stack.predict(members, chosen))
        energy = np.add.reduceat(local, starts, axis=1)
        return [Predicted(*parts) for parts in zip(energy, forces, local, strict=True)]

    def gradient_norms(
        self, members: Sequence[int], sample: NDArray[np.int64]
    ) -> list[NDArray[np.float64]]:
        """Measure gradients of single structures."""
        return list(self.stack.signals(members, sample))

    def state(self, member: int) -> State:
        """Return weights and moments of a model."""
        weights = self.stack.named(member)
        moments = (self.stack.mean, self.stack.square)
        means, squares = (self._in_order(self.stack.named(member, of)) for of in moments)
        steps = [torch.tensor(float(self.stack.n_steps)) for _ in means]
        optimizer = {"means": means, "squares": squares, "steps": steps}
        return {"model": {**self.models[member].state_dict(), **weights}, "optimizer": optimizer}

    def _in_order(self, named: Mapping[str, Tensor]) -> list[Tensor]:
        return [named[name] for name, _ in self.models[0].named_parameters()]

    def restore(self, member: int, state: State) -> None:
        """Go on from what `state` returned; all models that learn together, to the same step."""
        self.stack.load(member, state["model"])
        names = [name for name, _ in self.models[0].named_parameters()]
        for key, into in (("means", self.stack.mean), ("squares", self.stack.square)):
            named = dict(zip(names, state["optimizer"][key], strict=True))
            self.stack.load(member, named, into)
        self.stack.n_steps = int(state["optimizer"]["steps"][0])

    def rescaled(self, member: int) -> None:
        """Take note that the scales of a model's objective are others now."""
        self.stack.set_objective(member, self.objectives[member])

    def finish(self) -> None:
        """Leave the weights in the models."""
        for k, model in enumerate(self.models):
            model.load_state_dict({**model.state_dict(), **self.stack.named(k)})


def learners(
    models: Sequence[Potential], objectives: Sequence[Objective], shared: Shared
) -> Learners:
    """Return the models as learners of the fastest kind there is for them."""
    if hindrance(models[0], shared.batcher.device) is None:
        return InC(models, objectives, shared)
    return InTorch(models, objectives, shared)


def hindrance(model: Potential, device: torch.device) -> str | None:
    """Return why a model is not trained in C; None when it is."""
    kind = compiled_step.KINDS.get(type(model.representation).__name__)
    if type(model) is not Potential or kind is None or device.type != "cpu":
        return ""
    try:
        compiled_step.library(kind, model.local_energy_scale.dtype)
    except compiled.NotCompiled as reason:
        return str(reason)
    return None


def described(model: Potential, device: torch.device) -> str:
    """Say in a few words how steps of a model are computed on a device, and why not in C."""
    reason = hindrance(model, device)
    if reason is None:
        return f"compiled C, {compiled.instruction_set()}"
    sums = f"torch, sums over pairs in {pair_kernels.described(device).partition(',')[0]}"
    return f"{sums} (no compiled step: {reason})" if reason else sums
