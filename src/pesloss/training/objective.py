"""What is minimised: an energy term and a force term on one footing for every loss."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from pesloss import losses
from pesloss.data.graphs import Graphs
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.model.batches import Batch
from pesloss.model.devices import CPU
from pesloss.model.potential import Prediction
from pesloss.scales.scales import Scales
from pesloss.statistics.dataset import DatasetStatistics


@dataclass(frozen=True)
class Targets:
    """Labels of S structures with A atoms and what a loss needs to know of them.

    Energies are in the energy unit of the training, which is eV unless another is asked for.
    """

    deviation: Tensor  # (S,) energy less Σ μ_z
    forces: Tensor  # (A, 3) energy/Å
    composition: Tensor  # (S, Z)
    species: Tensor  # (A,) index into the statistics' species


def targets(
    graphs: Graphs,
    statistics: DatasetStatistics,
    units_per_ev: float = 1.0,
    dtype: torch.dtype = torch.float32,
    device: torch.device = CPU,
) -> Targets:
    """Take the labels out of ``graphs``; ``Σ μ_z`` is subtracted in float64.

    Parameters
    ----------
    graphs, statistics
        In eV and eV/Å.
    units_per_ev
        The unit of the labels that are returned: 1 eV is so many of it.
    dtype, device
        Type and place of the labels that are returned.

    Raises
    ------
    PeslossError
        When a structure holds a species the training split does not.
    """
    symbols = [chemical_symbols[z] for z in graphs.numbers]
    order = {symbol: i for i, symbol in enumerate(statistics.species)}
    unknown = sorted(set(symbols) - set(order))
    if unknown:
        owner = np.repeat(graphs.structure, graphs.n_atoms)[symbols.index(unknown[0])]
        where = f"{statistics.dataset}: structure {owner}"
        raise wrong_value(where, "species", unknown[0], statistics.species)
    species = np.array([order[symbol] for symbol in symbols], dtype=np.int64)
    owner = np.repeat(np.arange(len(graphs.n_atoms)), graphs.n_atoms)
    composition = np.zeros((len(graphs.n_atoms), len(order)))
    np.add.at(composition, (owner, species), 1)
    deviation = statistics.deviation(graphs.energy, composition)
    return Targets(
        deviation=torch.as_tensor(units_per_ev * deviation, dtype=dtype, device=device),
        forces=torch.as_tensor(units_per_ev * graphs.forces, dtype=dtype, device=device),
        composition=torch.as_tensor(composition, dtype=dtype, device=device),
        species=torch.as_tensor(species, device=device),
    )


def scales_of(statistics: DatasetStatistics, units_per_ev: float = 1.0) -> Scales:
    """Return what a loss needs to know of a dataset's statistics, in the unit of the training."""
    shared = statistics.shared

    def converted(values: Iterable[float]) -> tuple[float, ...]:
        return tuple(units_per_ev * value for value in values)

    return Scales(
        species=statistics.species,
        mean=converted(statistics.mean),
        local_energy_scale=converted(statistics.local_energy_scale),
        correlated_scale=converted(shared["std"]),
        shared_scale=converted((shared["tau"],) * len(statistics.species)),
        structure_scale=units_per_ev * shared["kappa"],
        force_scale=converted(statistics.force_scale),
    )


class Objective:
    """``mean_k metric(ΔE_k / (r_E s_k)) + w · mean_ic metric(ΔF_ic / (r_F η_i))``.

    ``s_k`` and ``η_i`` come from the losses. The constants ``r_E`` and ``r_F`` are the root mean
    squares of ``(E_k − Σ μ_z) / s_k`` and ``F_ic / η_i`` over the training structures: a model
    that predicts ``Σ μ_z`` and no forces has both terms 1 under MSE, whatever the loss. A constant
    changes no structure's weight against another's; it only gives the force weight ``w`` and
    Huber's unitless δ the same meaning for every loss.

    Without ``term_constants`` both are 1, as in published codes. For MSE the loss at weight ``w``
    with constants is, but for a factor of the whole, the loss without them at ``w r_E² / r_F²``.

    Attributes
    ----------
    constants
        ``r_E`` under the key ``energy`` and ``r_F`` under ``forces``, whether used or not.
    """

    def __init__(
        self,
        labels: Targets,
        energy_loss: losses.EnergyLoss,
        force_loss: losses.ForceLoss,
        train: NDArray[np.int64],
        train_atoms: Tensor,
        metric: str = "mse",
        force_weight: float = 1.0,
        delta: float = 1.0,
        term_constants: bool = True,
        units_per_ev: float = 1.0,
    ) -> None:
        self.labels = labels
        self.energy_loss = energy_loss
        self.train = train
        self.metric_name = metric
        self.metric = losses.METRICS[metric]
        self.delta = delta
        self.force_weight = force_weight
        self.term_constants = term_constants
        self.units_per_ev = units_per_ev
        self.constants: dict[str, float] = {}
        self.energy_scale = self._energy_scale()
        force_scale = force_loss.scale(labels.species).to(labels.forces.dtype)
        self.force_scale = self._scaled(labels.forces, force_scale[:, None], train_atoms, "forces")

    def _energy_scale(self) -> Tensor:
        scale = self.energy_loss.scale(self.labels.composition)
        train = torch.as_tensor(self.train)
        return self._scaled(self.labels.deviation, scale, train, "energy")

    def _scaled(self, labels: Tensor, scale: Tensor, train: Tensor, term: str) -> Tensor:
        """Return the scale times the term's constant, which is kept."""
        root = _root_mean_square(labels, scale, train, term)
        constant = root if root > 0 else torch.ones_like(root)
        self.constants[term] = float(constant)
        return scale * constant if self.term_constants else scale

    def calibrations(self, n_steps: int) -> set[int]:
        """Return the steps before which `calibrate` is due in a training of ``n_steps``."""
        return {round(share * n_steps) for share in self.energy_loss.schedule}

    def calibrate(self, residual: NDArray[np.float64]) -> None:
        """Let the energy loss learn from the errors ``Ê − E`` (T,) of the training structures."""
        composition = self.labels.composition[torch.as_tensor(self.train)].double().cpu()
        self.energy_loss.calibrate(composition.numpy(), residual)
        self.energy_scale = self._energy_scale()

    def load_energy_loss(self, state: dict[str, Any]) -> None:
        """Go back to what an energy loss had learnt when a training was cut off."""
        self.energy_loss.load_state_dict(state)
        self.energy_scale = self._energy_scale()

    def energy_terms(self, batch: Batch, prediction: Prediction) -> Tensor:
        """Return the energy term of each structure of the batch, shape (B,)."""
        error = prediction.deviation - self.labels.deviation[batch.index]
        return self.metric(error / self.energy_scale[batch.index], self.delta)

    def force_terms(self, batch: Batch, prediction: Prediction) -> Tensor:
        """Return the force term of each component of the batch, shape (A, 3)."""
        error = prediction.forces - self.labels.forces[batch.atom]
        return self.metric(error / self.force_scale[batch.atom], self.delta)


def _root_mean_square(labels: Tensor, scale: Tensor, train: Tensor, term: str) -> Tensor:
    if scale.shape != labels.shape[:1] + (1,) * (labels.dim() - 1):
        raise PeslossError(f"{term} loss: scale has shape {tuple(scale.shape)}, not one entry each")
    if not bool((scale > 0).all() & scale.isfinite().all()):
        raise PeslossError(f"{term} loss: scale is not a positive number for every structure")
    return (labels[train] / scale[train]).square().mean().sqrt()
