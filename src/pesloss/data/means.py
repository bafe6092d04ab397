"""What the compositions of a set of structures can tell of its means and scales, in words."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from pesloss.data.outliers import counts_of
from pesloss.scales.rank import describe, find_basis

__all__ = ["about_means"]


def about_means(frames: Sequence[Atoms]) -> list[str]:
    """Say which means cannot be told apart, and whether there is but one size, a line each."""
    counts, symbols = counts_of(frames)
    n_atoms = counts.sum(axis=1)
    basis = find_basis(counts, 1 / n_atoms)
    seen = np.ones(len(symbols), dtype=bool)
    lines = [
        f"means cannot be told apart: {line}" for line in describe(basis, counts, symbols, seen)
    ]
    if n_atoms.min() == n_atoms.max():
        lines.append(
            f"all {len(frames)} structures have {n_atoms[0]:.0f} atoms: how errors and scales grow "
            "with size cannot be told"
        )
    return lines
