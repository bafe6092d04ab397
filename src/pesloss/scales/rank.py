"""Which combinations of species the data can tell apart, and how the rest is split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from pesloss.scales.grouped import row_blocks

Array = NDArray[np.float64]

_NULL = 1e-10  # share of the largest eigenvalue of the scaled Gram matrix that counts as zero


@dataclass(frozen=True)
class Basis:
    """Combinations of species that the compositions separate.

    Attributes
    ----------
    identified
        (Z, rank) basis Q: with means Q β, the Gram matrix of C Q is the unit matrix.
    null
        (Z, Z − rank) scaled directions that no composition sees.
    log_scale
        ``Σ log`` of the column norms; restores ``log det CᵀWC`` from that of C Q.
    """

    identified: Array
    null: Array
    log_scale: float


def find_basis(counts: NDArray[np.number], weights: Array) -> Basis:
    """Split the space of species by the eigenvectors of the scaled, weighted Gram matrix.

    The part of the means that the compositions leave open is set to zero in units of the
    column norms: the minimum-norm split.
    """
    gram = np.zeros((counts.shape[1],) * 2)
    for rows, block in row_blocks(counts):
        scaled = block * np.sqrt(weights[rows])[:, None]
        gram += scaled.T @ scaled
    norm = np.sqrt(np.diag(gram))
    norm = np.where(norm > 0, norm, 1.0)
    values, vectors = np.linalg.eigh(gram / np.outer(norm, norm))
    kept = values > _NULL * values[-1]
    identified = vectors[:, kept] / np.sqrt(values[kept]) / norm[:, None]
    log_scale = float(np.log(norm).sum() + np.log(values[kept]).sum() / 2)
    return Basis(identified, vectors[:, ~kept], log_scale)


def open_species(basis: Basis) -> NDArray[np.bool_]:
    """(Z,) species whose mean the compositions do not fix."""
    return np.asarray((basis.null**2).sum(1) > 1e-10)


def describe(
    basis: Basis, counts: NDArray[np.number], names: Sequence[str], seen: NDArray[np.bool_]
) -> list[str]:
    """Name the combinations of species that the data cannot separate, one line each."""
    lines = [f"{names[z]}: in no structure" for z in np.flatnonzero(~seen)]
    projector = np.abs(basis.null @ basis.null.T)
    linked = np.asarray(projector > 1e-6)
    _, component = connected_components(linked, directed=False)
    still_open = open_species(basis) & seen
    for label in np.unique(component[still_open]):
        members = np.flatnonzero((component == label) & still_open)
        lines.append(_line(basis, counts, names, members))
    return lines


def _line(
    basis: Basis,
    counts: NDArray[np.number],
    names: Sequence[str],
    members: NDArray[np.intp],
) -> str:
    free = round(float((basis.null[members] ** 2).sum()))
    listed = ", ".join(names[z] for z in members)
    fixed = len(members) - free
    if fixed != 1:
        return f"{listed}: only {fixed} combinations of these {len(members)} means are fixed"
    row = counts[np.flatnonzero(counts[:, members].any(axis=1))[0], members].astype(float)
    ratio = row / row[row > 0].min()
    formula = " + ".join(f"{k:g} {names[z]}" for k, z in zip(ratio, members, strict=True))
    return f"{listed}: only the sum {formula} is fixed"
