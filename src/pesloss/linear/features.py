"""Features of structures that a linear model is fitted in: frozen or drawn at random."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pesloss.data.graphs import Graphs
from pesloss.job.files import read_arrays, written_whole
from pesloss.model.batches import Batcher
from pesloss.model.potential import Potential, build_model
from pesloss.spec.settings import ModelSpec
from pesloss.statistics.dataset import DatasetStatistics

Array = NDArray[np.float64]
N_DRAWN = 24
BATCH = 32


@dataclass(frozen=True)
class Features:
    """M sets of d features of S structures, each a sum over the atoms of the structure."""

    structure: NDArray[np.str_]  # (S,)
    values: Array  # (M, S, d)

    def write(self, path: Path | str) -> None:
        """Write as a NumPy archive, whole or not at all."""
        with written_whole(path) as scratch, scratch.open("wb") as handle:
            np.savez(handle, structure=self.structure, values=self.values)

    @classmethod
    def read(cls, path: Path | str) -> "Features":
        """Read a file written by ``write``.

        Raises
        ------
        PeslossError
            When the file is missing, is truncated or is no such archive.
        """
        return cls(**read_arrays(path, ("structure", "values"), "a feature file"))


def frozen_features(
    graphs: Graphs, statistics: DatasetStatistics, spec: ModelSpec, n_models: int
) -> Features:
    """Sum the atoms' features of models at their initial random weights.

    They are those of the suite's own models before training: invariant to rotation and to the order
    of atoms, and the same for every loss.

    Parameters
    ----------
    graphs
        S structures.
    statistics
        Those of the dataset; no feature depends on them.
    spec
        The model; d is its number of features.
    n_models
        Models with the seeds 0, 1, …
    """
    batcher = Batcher(graphs, torch.float64)
    values = [
        _summed(build_model(spec, statistics, seed).double(), batcher, len(graphs.n_atoms))
        for seed in range(n_models)
    ]
    return Features(graphs.structure, np.stack(values))


def _summed(model: Potential, batcher: Batcher, n_structures: int) -> Array:
    seen: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, inputs: Any, output: dict[str, torch.Tensor]) -> None:
        seen.append(output["scalar_representation"])

    handle = model.representation.register_forward_hook(keep)
    parts = []
    with torch.no_grad():
        for start in range(0, n_structures, BATCH):
            batch = batcher(np.arange(start, min(start + BATCH, n_structures)))
            model.local_energy(batch, batch.positions)
            local = seen.pop()
            total = local.new_zeros(len(batch.n_atoms), local.shape[1])
            parts.append(total.index_add(0, batch.structure, local).numpy())
    handle.remove()
    return np.concatenate(parts)


def drawn_features(
    structures: NDArray[np.str_], n_atoms: Array, n_models: int, rng: np.random.Generator
) -> Features:
    """Draw 24 features for structures without geometry, as sums over atoms would be.

    Each is ``½ N u + √N v`` with standard normal ``u`` and ``v``: a part that all atoms of a
    structure share, as real features have, and a part of each atom.
    """
    size = (n_models, len(structures), N_DRAWN)
    shared, own = rng.standard_normal(size), rng.standard_normal(size)
    n = n_atoms[:, None]
    return Features(structures, 0.5 * n * shared + np.sqrt(n) * own)
