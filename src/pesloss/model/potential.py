"""The trained potentials: SchNetPack's representations under one readout in standardised units."""

from typing import NamedTuple

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from pesloss.model import networks
from pesloss.model.batches import Batch
from pesloss.model.schnetpack_import import import_networks
from pesloss.spec.settings import ModelSpec
from pesloss.statistics.dataset import DatasetStatistics

schnetpack = import_networks()


class Prediction(NamedTuple):
    """What a model says of a batch of B structures with A atoms."""

    deviation: Tensor  # (B,) eV: the energy less Σ μ_z
    forces: Tensor  # (A, 3) eV/Å
    local_energy: Tensor  # (A,) eV: the parts of ``deviation``


class Potential(nn.Module):
    """``E = Σ_i (μ_{z_i} + σ_{z_i} y_i)`` with ``y_i`` the output of a SchNetPack model.

    The same for every loss: outputs are in standardised units, and which loss is trained is not
    known here. ``Σ μ_z`` is left to the caller, who adds it in float64.
    """

    local_energy_scale: Tensor

    def __init__(self, spec: ModelSpec, statistics: DatasetStatistics) -> None:
        super().__init__()
        radial = schnetpack.nn.GaussianRBF(n_rbf=spec.n_radial, cutoff=spec.cutoff)
        kind = {
            "schnet": schnetpack.representation.SchNet,
            "painn": schnetpack.representation.PaiNN,
        }[spec.representation]
        self.representation = kind(
            n_atom_basis=spec.n_features,
            n_interactions=spec.n_interactions,
            radial_basis=radial,
            cutoff_fn=schnetpack.nn.CosineCutoff(spec.cutoff),
        )
        self.readout = schnetpack.atomistic.Atomwise(
            n_in=spec.n_features, aggregation_mode=None, per_atom_output_key="local_energy"
        )
        scale = torch.ones(100)
        for symbol, value in zip(statistics.species, statistics.local_energy_scale, strict=True):
            scale[atomic_numbers[symbol]] = value
        self.register_buffer("local_energy_scale", scale)

    def forward(self, batch: Batch, differentiable: bool = True) -> Prediction:
        """Predict energies and forces.

        Parameters
        ----------
        batch
            The structures.
        differentiable
            Whether the forces can be differentiated by the parameters, as training needs.
        """
        evaluate = {"SchNet": networks.schnet, "PaiNN": networks.painn}
        local, forces = evaluate[type(self.representation).__name__](
            self.representation,
            self.readout.outnet,
            self.local_energy_scale[batch.numbers],
            batch,
            differentiable,
        )
        return Prediction(self.total(batch, local), forces, local)

    def reference(self, batch: Batch) -> Prediction:
        """Predict the same by SchNetPack's own forward pass and automatic differentiation."""
        positions = batch.positions.requires_grad_()
        local = self.local_energy(batch, positions)
        forces = -torch.autograd.grad(local.sum(), positions, create_graph=True)[0]
        return Prediction(self.total(batch, local), forces, local)

    def local_energy(self, batch: Batch, positions: Tensor) -> Tensor:
        """Return ``σ_z y_i`` in eV, shape (A,), by SchNetPack's own forward pass."""
        names = schnetpack.properties
        first, second = batch.pairs
        vectors = positions[second] - positions[first] + batch.offset
        inputs = {
            names.Z: batch.numbers,
            names.Rij: torch.cat([vectors, -vectors]),
            names.idx_i: torch.cat([first, second]),
            names.idx_j: torch.cat([second, first]),
            names.idx_m: batch.structure,
        }
        output = self.readout(self.representation(inputs))["local_energy"]
        scaled: Tensor = self.local_energy_scale[batch.numbers] * output.squeeze(-1)
        return scaled

    @staticmethod
    def total(batch: Batch, local: Tensor) -> Tensor:
        """Sum per-atom values by structure, shape (B,)."""
        return local.new_zeros(len(batch.n_atoms)).index_add(0, batch.structure, local)


def build_model(
    spec: ModelSpec, statistics: DatasetStatistics, seed: int, kind: type[Potential] = Potential
) -> Potential:
    """Build a model whose initial weights depend on ``seed`` alone, not on the loss."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(spec, statistics)
