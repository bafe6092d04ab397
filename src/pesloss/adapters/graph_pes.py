"""graph-pes: losses with `pre_fit`, from Python or as `+pesloss.adapters.graph_pes.EnergyLoss`."""

from functools import cached_property
from pathlib import Path

import torch
from graph_pes import AtomicGraph
from graph_pes.graph_property_model import GraphPropertyModel
from graph_pes.training.loss import Loss
from torch import Tensor

from pesloss.losses import energy_loss, force_loss
from pesloss.losses.terms import EnergyTerm, ForceTerm, Reduction, Structures, structures
from pesloss.scales.scales import Scales
from pesloss.scales.training_set import fit_atoms


class _Loss(Loss):  # type: ignore[misc]
    """What energies and forces have in common: a named loss, and scales read, given or fitted."""

    property_name: str

    def __init__(
        self,
        loss: str = "standardized",
        metric: str = "mse",
        delta: float = 1.0,
        weight: float = 1.0,
        reduction: Reduction = "mean",
        scales: Scales | str | None = None,
    ) -> None:
        super().__init__(weight, is_per_atom=self.property_name == "forces")
        self.loss_name, self.metric, self.delta = loss, metric, delta
        self.reduction: Reduction = reduction
        self.scales = Scales.read(Path(scales)) if isinstance(scales, str) else scales

    @property
    def required_properties(self) -> list[str]:
        """The property of a graph that the loss compares with."""
        return [self.property_name]

    @property
    def name(self) -> str:
        """Name in graph-pes's log."""
        return f"{self.property_name}_{self.loss_name}_{self.metric}"

    def pre_fit(self, training_data: AtomicGraph) -> None:
        """Fit the scales to the training set, which graph-pes hands over before it trains."""
        if self.scales is None:
            self.scales = fit_graph(training_data)

    def batch_of(self, graph: AtomicGraph, like: Tensor) -> Structures:
        """Return the compositions of a batch."""
        owner = owner_of(graph)
        ones = torch.ones(int(owner.max()) + 1, dtype=like.dtype, device=like.device)
        return structures(self.scales, graph.Z.long(), owner, ones, ones)


class EnergyLoss(_Loss):
    """Total energies under a loss of `pesloss.losses.energy`.

    Parameters
    ----------
    loss
        Name of an energy loss: raw, per_atom, standardized, ….
    metric, delta
        "mse", "mae" or "huber" with its δ.
    weight
        Factor in the total loss.
    reduction
        "mean", or "root_mean" for the root mean square that graph-pes takes of a batch.
    scales
        `Scales` or a file of them; left out: fitted to the training set before training.
    """

    property_name = "energy"

    def forward(
        self, model: GraphPropertyModel, graph: AtomicGraph, predictions: dict[str, Tensor]
    ) -> Tensor:
        """Return the energy term of a batch, without ``weight``."""
        error = (predictions["energy"] - graph.properties["energy"]).reshape(-1)
        return self.term(error, self.batch_of(graph, error))

    @cached_property
    def term(self) -> EnergyTerm:
        """The energy term, made once the scales are known."""
        loss = energy_loss(self.loss_name)(self.scales)
        return EnergyTerm(loss, self.metric, self.delta, reduction=self.reduction)


class ForceLoss(_Loss):
    """Forces under a loss of `pesloss.losses.forces`; parameters as in `EnergyLoss`."""

    property_name = "forces"

    def forward(
        self, model: GraphPropertyModel, graph: AtomicGraph, predictions: dict[str, Tensor]
    ) -> Tensor:
        """Return the force term of a batch, without ``weight``."""
        target = graph.properties["forces"]
        error = predictions["forces"] - target
        return self.term(error, target, self.batch_of(graph, error))

    @cached_property
    def term(self) -> ForceTerm:
        """The force term, made once the scales are known."""
        loss = force_loss(self.loss_name)(self.scales)
        return ForceTerm(loss, self.metric, self.delta, reduction=self.reduction)


def owner_of(graph: AtomicGraph) -> Tensor:
    """Return the structure of each atom (A,); zeros for a graph that is no batch."""
    batch: Tensor | None = graph.batch
    return torch.zeros_like(graph.Z, dtype=torch.long) if batch is None else batch.long()


def fit_graph(graph: AtomicGraph) -> Scales:
    """Fit scales to the structures of a batch.

    Raises
    ------
    PeslossError
        When the data cannot be fitted.
    """
    forces = graph.properties.get("forces")
    return fit_atoms(
        graph.Z.cpu().long().numpy(),
        owner_of(graph).cpu().numpy(),
        graph.properties["energy"].cpu().double().reshape(-1).numpy(),
        None if forces is None else forces.cpu().double().numpy(),
    ).scales
