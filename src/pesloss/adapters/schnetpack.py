"""SchNetPack: outputs whose loss sees the composition, from Python or a `spktrain` configuration.

SchNetPack's own `ModelOutput` is given predictions and targets but neither N nor Z
(schnetpack/task.py:59-66). `AtomisticTask` here hands them on; everything else is SchNetPack's.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from pesloss.job.errors import PeslossError
from pesloss.losses import energy_loss, force_loss
from pesloss.losses.terms import EnergyTerm, ForceTerm, Structures, structures
from pesloss.model.schnetpack_import import import_schnetpack
from pesloss.scales.scales import Scales
from pesloss.scales.training_set import fit_atoms

schnetpack = import_schnetpack()
task = schnetpack.task
names = schnetpack.properties
HANDED_ON = (names.Z, names.idx_m)


class _Output(task.ModelOutput):  # type: ignore[name-defined,misc]
    """What energies and forces have in common: a named loss, and scales read, given or fitted."""

    def __init__(
        self,
        name: str,
        loss: str = "standardized",
        scales: Scales | Path | str | None = None,
        metric: str = "mse",
        delta: float = 1.0,
        loss_weight: float = 1.0,
        metrics: dict[str, Metric] | None = None,
        constraints: list[torch.nn.Module] | None = None,
        target_property: str | None = None,
    ) -> None:
        super().__init__(name, None, loss_weight, metrics or {}, constraints, target_property)
        self.loss_name, self.metric, self.delta = loss, metric, delta
        self.scales = Scales.read(scales) if isinstance(scales, Path | str) else scales

    def batch_of(self, pred: dict[str, Tensor], count: int, like: Tensor) -> Structures:
        """Return the compositions that `AtomisticTask` has put beside the predictions."""
        if names.Z not in pred:
            raise PeslossError(
                f"{type(self).__name__}: no {names.Z} among the predictions; "
                "use pesloss.adapters.schnetpack.AtomisticTask as the task"
            )
        ones = torch.ones(count, dtype=like.dtype, device=like.device)
        return structures(self.scales, pred[names.Z], pred[names.idx_m], ones, ones)


class EnergyOutput(_Output):
    """Energy of SchNetPack's `ModelOutput` with a loss of `pesloss.losses.energy`.

    Parameters
    ----------
    name
        Of the output in the model's results.
    loss
        Name of an energy loss: raw, per_atom, standardized, ….
    scales
        `Scales` or a file of them, in the units the model trains in; left out: fitted to the
        training set when the training starts.
    metric, delta
        "mse", "mae" or "huber" with its δ.
    loss_weight, metrics, constraints, target_property
        As in `ModelOutput`.
    """

    def calculate_loss(self, pred: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor | float:
        """Return the weighted energy term of a batch."""
        if self.loss_weight == 0:
            return 0.0
        error = (pred[self.name] - target[self.target_property]).reshape(-1)
        batch = self.batch_of(pred, len(error), error)
        value: Tensor = self.loss_weight * self.term(error, batch)
        return value

    @cached_property
    def term(self) -> EnergyTerm:
        """The energy term, made once the scales are known."""
        return EnergyTerm(energy_loss(self.loss_name)(self.scales), self.metric, self.delta)


class ForceOutput(_Output):
    """Forces of SchNetPack's `ModelOutput` with a loss of `pesloss.losses.forces`.

    Parameters as in `EnergyOutput`; ``average`` is that of `pesloss.losses.terms.ForceTerm`.
    """

    def __init__(self, name: str, *args: Any, average: Any = "atoms", **options: Any) -> None:
        super().__init__(name, *args, **options)
        self.average = average

    def calculate_loss(self, pred: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor | float:
        """Return the weighted force term of a batch."""
        if self.loss_weight == 0:
            return 0.0
        reference = target[self.target_property]
        error = pred[self.name] - reference
        count = int(pred[names.idx_m].max()) + 1 if names.idx_m in pred else 0
        batch = self.batch_of(pred, count, error)
        value: Tensor = self.loss_weight * self.term(error, reference, batch)
        return value

    @cached_property
    def term(self) -> ForceTerm:
        """The force term, made once the scales are known."""
        loss = force_loss(self.loss_name)(self.scales)
        return ForceTerm(loss, self.metric, self.delta, average=self.average)


class AtomisticTask(task.AtomisticTask):  # type: ignore[name-defined,misc]
    """SchNetPack's task, which also hands atomic numbers and structure indices to the losses.

    Outputs without scales get those of the training set.
    """

    def setup(self, stage: str | None = None) -> None:
        """Prepare the model as SchNetPack does, then fit the scales that are missing."""
        super().setup(stage)
        waiting = [o for o in self.outputs if isinstance(o, _Output) and o.scales is None]
        if stage == "fit" and waiting:
            fitted = self._fitted(waiting)
            for output in waiting:
                output.scales = fitted

    def _fitted(self, waiting: list[_Output]) -> Scales:
        energy = [o.target_property for o in self.outputs if isinstance(o, EnergyOutput)]
        forces = [o.target_property for o in self.outputs if isinstance(o, ForceOutput)]
        if not energy:
            name = type(waiting[0]).__name__
            raise PeslossError(
                f"{name}: scales cannot be fitted without an EnergyOutput; give scales"
            )
        return fit_dataset(self.trainer.datamodule.train_dataset, energy[0], *forces[:1])

    def predict_without_postprocessing(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Predict, and keep what the losses need of the batch."""
        pred: dict[str, Tensor] = super().predict_without_postprocessing(batch)
        return {**pred, **{name: batch[name] for name in HANDED_ON}}


def fit_dataset(
    dataset: Iterable[dict[str, Tensor]], energy: str, forces: str | None = None
) -> Scales:
    """Fit scales to a SchNetPack dataset, with its transforms, in its units.

    Parameters
    ----------
    dataset
        Yields structures with atomic numbers and the named properties.
    energy, forces
        Names of properties.

    Raises
    ------
    PeslossError
        When the data cannot be fitted.
    """
    numbers, energies, vectors = [], [], []
    for inputs in dataset:
        numbers.append(inputs[names.Z].numpy())
        energies.append(float(inputs[energy]))
        if forces is not None:
            vectors.append(inputs[forces].double().numpy())
    owner = np.repeat(np.arange(len(numbers)), [len(one) for one in numbers])
    joined = np.concatenate(vectors) if vectors else None
    return fit_atoms(np.concatenate(numbers), owner, energies, joined).scales
