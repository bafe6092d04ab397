"""The learning signal: what each structure contributes to the loss and to its gradient."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pesloss.data.graphs import Graphs
from pesloss.model.batches import Batch, Batcher
from pesloss.model.potential import Potential, Prediction
from pesloss.training.objective import Objective


class LossSignal:
    """Adds up every structure's terms over a window of training steps."""

    def __init__(self, total: NDArray[np.float64]) -> None:
        self.total = total  # (S, 3): visits, energy terms, sums of force terms

    def add(
        self,
        index: NDArray[np.int64],
        energy_terms: NDArray[np.floating],
        force_sums: NDArray[np.floating],
    ) -> None:
        """Add one batch: energy terms (B,) and force terms summed by structure (B,)."""
        self.total[index, 0] += 1
        self.total[index, 1] += energy_terms
        self.total[index, 2] += force_sums

    def table(self, step: int, graphs: Graphs) -> pd.DataFrame:
        """Return mean terms by structure since the last call, and start the next window."""
        seen = np.flatnonzero(self.total[:, 0])
        count, energy, force = self.total[seen].T
        self.total[:] = 0
        return pd.DataFrame(
            {
                "step": step,
                "structure": graphs.structure[seen],
                "n_visits": count.astype(int),
                "energy_term": energy / count,
                "force_term": force / count,
            }
        )


def signal_sample(graphs: Graphs, train: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return up to ``count`` training structures, evenly spaced in the order of size."""
    order = train[np.argsort(graphs.n_atoms[train], kind="stable")]
    chosen: NDArray[np.int64] = order[
        np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))
    ]
    return chosen


def gradient_norms(
    model: Potential,
    objective: Objective,
    batcher: Batcher,
    sample: Sequence[int] | NDArray[np.int64],
) -> NDArray[np.float64]:
    """Measure each structure's gradients by the parameters, one structure at a time, in torch.

    Returns
    -------
    array
        (K, 3): norms of the gradient of the energy term, of the energy and of the sum of the force
        terms, in the unit of the training.
    """
    rows = []
    for index in sample:
        batch = batcher(np.array([index]))
        prediction = model(batch)
        slope = _slope(objective, batch, prediction)
        jacobian = _norm(prediction.deviation.sum(), model, keep=True)
        force = _norm(objective.force_terms(batch, prediction).sum(), model, keep=False)
        rows.append((slope * jacobian, jacobian, force))
    return np.array(rows)


def gradient_table(
    norms: NDArray[np.float64],
    graphs: Graphs,
    sample: NDArray[np.int64],
    step: int,
    units_per_ev: float,
) -> pd.DataFrame:
    """Return a table of the norms of `gradient_norms`.

    Returns
    -------
    DataFrame
        ``energy_gradient`` = ‖∂(energy term)/∂θ‖, ``energy_jacobian`` = ‖∂Ê/∂θ‖ in eV (science.md
        §3, the exponent β) and ``force_gradient`` = ‖∂(sum of force terms)/∂θ‖.
    """
    return pd.DataFrame(
        {
            "step": step,
            "structure": [str(name) for name in graphs.structure[sample]],
            "energy_gradient": norms[:, 0],
            "energy_jacobian": norms[:, 1] / units_per_ev,
            "force_gradient": norms[:, 2],
        }
    )


def _slope(objective: Objective, batch: Batch, prediction: Prediction) -> float:
    """Return |∂(energy term)/∂Ê| of the one structure of a batch, 1/eV."""
    alone = prediction.deviation.detach().requires_grad_()
    energy = objective.energy_terms(batch, prediction._replace(deviation=alone)).sum()
    return float(torch.autograd.grad(energy, alone)[0].abs())


def _norm(value: Tensor, model: Potential, keep: bool) -> float:
    gradients = torch.autograd.grad(
        value, list(model.parameters()), retain_graph=keep, allow_unused=True
    )
    return float(sum(g.double().square().sum() for g in gradients if g is not None) ** 0.5)
