"""Batches of structures as tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pesloss.graphs import Graphs


@dataclass(frozen=True)
class Batch:
    """Tensors of B structures with A atoms and P pairs in all."""

    index: NDArray[np.int64]  # (B,) positions in the graphs
    n_atoms: Tensor  # (B,)
    structure: Tensor  # (A,) number of each atom's structure in the batch
    atom: Tensor  # (A,) positions in the graphs
    numbers: Tensor  # (A,)
    positions: Tensor  # (A, 3)
    centre: Tensor  # (P,)
    neighbour: Tensor  # (P,)
    offset: Tensor  # (P, 3)


class Batcher:
    """Makes batches by slicing tensors that are in memory once."""

    def __init__(self, graphs: Graphs, dtype: torch.dtype = torch.float32) -> None:
        self.n_atoms = torch.as_tensor(graphs.n_atoms)
        self.n_pairs = torch.as_tensor(graphs.n_pairs)
        self.first_atom = self.n_atoms.cumsum(0) - self.n_atoms
        self.first_pair = self.n_pairs.cumsum(0) - self.n_pairs
        self.numbers = torch.as_tensor(graphs.numbers)
        self.positions = torch.as_tensor(graphs.positions, dtype=dtype)
        self.offset = torch.as_tensor(graphs.offset, dtype=dtype)
        self.centre = torch.as_tensor(graphs.centre)
        self.neighbour = torch.as_tensor(graphs.neighbour)

    def __call__(self, index: NDArray[np.int64]) -> Batch:
        """Return the batch of the structures at ``index``."""
        chosen = torch.as_tensor(index)
        n_atoms, n_pairs = self.n_atoms[chosen], self.n_pairs[chosen]
        atom = ranges(self.first_atom[chosen], n_atoms)
        pair = ranges(self.first_pair[chosen], n_pairs)
        shift = torch.repeat_interleave(n_atoms.cumsum(0) - n_atoms, n_pairs)
        return Batch(
            index=index,
            n_atoms=n_atoms,
            structure=torch.repeat_interleave(torch.arange(len(chosen)), n_atoms),
            atom=atom,
            numbers=self.numbers[atom],
            positions=self.positions[atom],
            centre=self.centre[pair] + shift,
            neighbour=self.neighbour[pair] + shift,
            offset=self.offset[pair],
        )


def ranges(start: Tensor, length: Tensor) -> Tensor:
    """Return ``start_k, start_k + 1, …`` with ``length_k`` entries for each k, concatenated."""
    before = length.cumsum(0) - length
    return torch.arange(int(length.sum())) + torch.repeat_interleave(start - before, length)
