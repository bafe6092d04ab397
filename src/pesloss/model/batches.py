"""Batches of structures as tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pesloss.data.graphs import Graphs
from pesloss.job.errors import PeslossError
from pesloss.model.devices import CPU
from pesloss.model.messages import Pairs


@dataclass(frozen=True)
class Batch:
    """Tensors of B structures with A atoms and P pairs, each pair once."""

    index: NDArray[np.int64]  # (B,) positions in the graphs
    n_atoms: Tensor  # (B,)
    structure: Tensor  # (A,) number of each atom's structure in the batch
    atom: Tensor  # (A,) positions in the graphs
    numbers: Tensor  # (A,)
    positions: Tensor  # (A, 3)
    pairs: Pairs
    offset: Tensor  # (P, 3) added to the position of a pair's second atom


class Batcher:
    """Makes batches by slicing tensors that are in the memory of ``device`` once.

    Raises
    ------
    PeslossError
        When a structure's neighbour list does not hold every pair in both directions.
    """

    def __init__(
        self, graphs: Graphs, dtype: torch.dtype = torch.float32, device: torch.device = CPU
    ) -> None:
        self.device = device
        self.n_atoms = torch.as_tensor(graphs.n_atoms, device=device)
        once = each_once(graphs)
        owner = np.repeat(np.arange(len(graphs.n_pairs)), graphs.n_pairs)[once]
        n_pairs = np.bincount(owner, minlength=len(graphs.n_pairs))
        if (2 * n_pairs != graphs.n_pairs).any():
            name = graphs.structure[np.flatnonzero(2 * n_pairs != graphs.n_pairs)[0]]
            raise PeslossError(
                f"graphs: structure {name} has neighbour pairs in one direction only"
            )
        self.n_pairs = torch.as_tensor(n_pairs, device=device)
        self.first_atom = self.n_atoms.cumsum(0) - self.n_atoms
        self.first_pair = self.n_pairs.cumsum(0) - self.n_pairs
        self.numbers = torch.as_tensor(graphs.numbers, device=device)
        self.positions = torch.as_tensor(graphs.positions, dtype=dtype, device=device)
        self.offset = torch.as_tensor(graphs.offset[once], dtype=dtype, device=device)
        self.first = torch.as_tensor(graphs.centre[once], device=device)
        self.second = torch.as_tensor(graphs.neighbour[once], device=device)

    def __call__(self, index: NDArray[np.int64]) -> Batch:
        """Return the batch of the structures at ``index``."""
        chosen = torch.as_tensor(index, device=self.device)
        n_atoms, n_pairs = self.n_atoms[chosen], self.n_pairs[chosen]
        atom = ranges(self.first_atom[chosen], n_atoms)
        pair = ranges(self.first_pair[chosen], n_pairs)
        shift = torch.repeat_interleave(n_atoms.cumsum(0) - n_atoms, n_pairs)
        number = torch.arange(len(chosen), device=self.device)
        return Batch(
            index=index,
            n_atoms=n_atoms,
            structure=torch.repeat_interleave(number, n_atoms),
            atom=atom,
            numbers=self.numbers[atom],
            positions=self.positions[atom],
            pairs=Pairs(self.first[pair] + shift, self.second[pair] + shift),
            offset=self.offset[pair],
        )


def each_once(graphs: Graphs) -> NDArray[np.bool_]:
    """Return which pairs of a neighbour list to keep, so that (i, j, S) or (j, i, −S) remains.

    Of an atom and its own image the one is kept whose first offset that is not zero is positive.
    """
    x, y, z = graphs.offset.T
    leading = np.where(x != 0, x, np.where(y != 0, y, z))
    own = (graphs.centre == graphs.neighbour) & (leading > 0)
    return np.asarray((graphs.centre < graphs.neighbour) | own)


def ranges(start: Tensor, length: Tensor) -> Tensor:
    """Return ``start_k, start_k + 1, …`` with ``length_k`` entries for each k, concatenated."""
    before = length.cumsum(0) - length
    place = torch.arange(int(length.sum()), device=length.device)
    return place + torch.repeat_interleave(start - before, length)
