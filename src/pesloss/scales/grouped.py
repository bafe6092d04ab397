"""Sufficient statistics: structures of equal composition count as one row with a multiplicity."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 8192  # rows turned into float64 at a time


@dataclass(frozen=True)
class Grouped:
    """Energies (after centring) by composition.

    Attributes
    ----------
    counts
        (G, Z) compositions, in the type of the input.
    size
        (G,) numbers of structures.
    mean
        (G,) mean energy.
    scatter
        (G,) sum of squared deviations from that mean.
    """

    counts: NDArray[np.number]
    size: Array
    mean: Array
    scatter: Array

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield slices of rows with their compositions as float64."""
        yield from row_blocks(self.counts)

    def thinned(self, limit: int) -> "Grouped":
        """Return at most about ``limit`` rows, evenly spaced."""
        step = max(1, len(self.size) // limit)
        rows = slice(None, None, step)
        return Grouped(self.counts[rows], self.size[rows], self.mean[rows], self.scatter[rows])


def row_blocks(counts: NDArray[np.number]) -> Iterator[tuple[slice, Array]]:
    """Yield slices of rows with the rows as float64."""
    for start in range(0, len(counts), BLOCK):
        rows = slice(start, start + BLOCK)
        yield rows, counts[rows].astype(np.float64)


def product(counts: NDArray[np.number], vectors: Array) -> Array:
    """Return ``counts @ vectors`` without a float64 copy of all counts."""
    return np.concatenate([block @ vectors for _, block in row_blocks(counts)])


def atoms(counts: NDArray[np.number]) -> Array:
    """Numbers of atoms (S,)."""
    return np.asarray(counts.sum(axis=1), dtype=np.float64)


def group(counts: NDArray[np.number], energy: Array) -> Grouped:
    """Collect structures of equal composition.

    Rows are told apart by a projection on irrational weights, and equality is then checked
    entry by entry; where it fails, or hardly any composition repeats, rows stay single.
    """
    first, place = _labels(counts)
    if len(first) > 0.9 * len(counts) or not _equal(counts, first[place]):
        ones = np.ones(len(energy))
        return Grouped(counts, ones, energy, np.zeros(len(energy)))
    size = np.bincount(place).astype(np.float64)
    mean = np.bincount(place, weights=energy) / size
    scatter = np.bincount(place, weights=(energy - mean[place]) ** 2).astype(np.float64)
    return Grouped(counts[first], size, mean, scatter)


def _labels(counts: NDArray[np.number]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    weights = np.sqrt(np.arange(2.0, counts.shape[1] + 2.0)) + np.pi
    keys = np.concatenate([(block * weights).sum(1) for _, block in row_blocks(counts)])
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    return first, place


def _equal(counts: NDArray[np.number], representative: NDArray[np.intp]) -> bool:
    starts = range(0, len(counts), BLOCK)
    return all(
        bool(np.array_equal(counts[s : s + BLOCK], counts[representative[s : s + BLOCK]]))
        for s in starts
    )
