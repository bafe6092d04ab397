"""The exponent that follows from local deviations and their correlation (science.md §2, §3).

``⟨Δ_k²⟩ = Σ_s n_ks c_s`` with ``n_ks`` the pairs of structure k in shell s and ``c_s`` the mean of
``δ_i δ_j`` over the pairs of a shell, by phase. Which shells a model keeps is the assumption:

- ``independent``: an atom with itself; the exponent is ½ within a phase;
- ``short_range``: also pairs up to 6 Å, farther ones are taken to be uncorrelated; ½ for large N;
- ``shared``: also the mean of all pairs beyond 6 Å, what does not decay; 1 for large N.

The ``c_s`` of a structure come from the other families alone, so that this is a prediction: that
local deviations are alike in cells of all sizes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pesloss.claims.measurement import Array
from pesloss.claims.runs import families
from pesloss.evaluation.correlation import EDGES
from pesloss.inference import exponent_of_sums
from pesloss.job.errors import PeslossError

SHORT_RANGE = 6.0
"""Å; pairs beyond it are one shell."""
NEAR = EDGES.index(SHORT_RANGE)
N_SHELLS = {"independent": 1, "short_range": 1 + NEAR, "shared": 2 + NEAR}
MODELS = tuple(N_SHELLS)
PRODUCT_COLUMNS = ("structure", "low", "high", "n_pairs", "product")


@dataclass(frozen=True)
class PairMoments:
    """K structures under n_seeds models: their squared deviations and what these are made of."""

    n_atoms: Array  # (K,)
    phase: NDArray[np.str_]  # (K,)
    family: NDArray[np.str_]  # (K,)
    square: Array  # (n_seeds, K) eV²
    n_pairs: Array  # (K, S): itself, shells up to 6 Å, beyond
    product: Array  # (n_seeds, K, S) eV²

    @classmethod
    def of_tables(
        cls, structures: pd.DataFrame, square: Array, products: Sequence[pd.DataFrame]
    ) -> "PairMoments":
        """Put the products of each seed beside its structures.

        Parameters
        ----------
        structures
            K structures with group (family), phase and n_atoms.
        square
            (n_seeds, K) squared deviations, eV².
        products
            For each seed the table of ``pair_products``; other structures in it are left out.

        Raises
        ------
        PeslossError
            When the products of a structure do not add up to its square.
        """
        shells = [_by_shell(table, structures.structure) for table in products]
        made = cls(
            structures.n_atoms.to_numpy(float),
            structures.phase.to_numpy(dtype=str),
            families(structures),
            square,
            shells[0][0],
            np.stack([product for _, product in shells]),
        )
        # Energies are summed in single precision, products in double.
        wrong = np.abs(made.product.sum(2) - square) > 1e-2 * (square + square.mean())
        if wrong.any():
            name = structures.structure.iloc[int(np.flatnonzero(wrong.any(0))[0])]
            raise PeslossError(f"structure {name}: local deviations do not add up to the energy's")
        return made

    def within(self, mask: NDArray[np.bool_]) -> "PairMoments":
        """Return the structures of a mask (K,)."""
        return PairMoments(
            self.n_atoms[mask],
            self.phase[mask],
            self.family[mask],
            self.square[:, mask],
            self.n_pairs[mask],
            self.product[:, mask],
        )

    def measured(self, weights: Array) -> Array:
        """Return exponents (B,) of the squared deviations under weights (B, n_seeds, K)."""
        cells = self._cells(weights)
        return self._exponent(cells[:, :, 0], cells[:, :, 1])

    def predicted(self, weights: Array, model: str) -> Array:
        """Return exponents (B,) of the squares that a model of the correlation predicts.

        A phase that no other family has takes the mean of all phases; a shell that no other
        family has counts as uncorrelated.
        """
        cells = self._cells(weights)
        n_pairs, product = np.split(cells[:, :, 2:], 2, axis=2)
        kept = N_SHELLS[model]
        moment = self._of_other_families(n_pairs[:, :, :kept], product[:, :, :kept])
        return self._exponent(cells[:, :, 0], (n_pairs[:, :, :kept] * moment).sum(2))

    def difference(self, model: str) -> Callable[[Array], Array]:
        """Return the statistic measured minus predicted of weights (B, n_seeds, K)."""
        return lambda weights: self.measured(weights) - self.predicted(weights, model)

    @cached_property
    def _places(self) -> pd.DataFrame:
        """Cells (phase, family, size), of which a family has one or few; one row a structure."""
        keys = pd.DataFrame({"phase": self.phase, "family": self.family, "size": self.n_atoms})
        return keys.assign(cell=keys.groupby(list(keys), sort=True).ngroup())

    @cached_property
    def _layout(self) -> pd.DataFrame:
        return self._places.drop_duplicates("cell").sort_values("cell", ignore_index=True)

    @cached_property
    def _adding(self) -> "csr_matrix":
        """Matrix that adds number, square, pairs and products of weighted structures by cell."""
        n_seeds, k = self.square.shape
        columns = np.concatenate(
            [
                np.ones((n_seeds, k, 1)),
                self.square[:, :, None],
                np.broadcast_to(self.n_pairs, self.product.shape),
                self.product,
            ],
            axis=2,
        ).reshape(n_seeds * k, -1)
        width = columns.shape[1]
        cell = np.tile(self._places.cell.to_numpy(), n_seeds)
        into = cell[:, None] * width + np.arange(width)
        rows = np.broadcast_to(np.arange(len(columns))[:, None], into.shape)
        shape = (width * len(self._layout), len(columns))
        return csr_matrix((columns.ravel(), (into.ravel(), rows.ravel())), shape=shape)

    def _cells(self, weights: Array) -> Array:
        """Return (B, cells, 2 + 2 S)."""
        added = self._adding @ weights.reshape(len(weights), -1).T
        return np.asarray(added.T.reshape(len(weights), len(self._layout), -1))

    def _of_other_families(self, n_pairs: Array, product: Array) -> Array:
        """Return mean products (B, cells, S) over the other families of a cell's phase."""
        layout = self._layout
        of_phase = _same(layout.phase)
        own = _same(layout.family)
        near, everywhere = of_phase & ~own, ~own
        found = np.zeros(product.shape)
        for others in (everywhere, near):  # the phase's own where it has any
            pairs, total = (others.astype(float) @ part for part in (n_pairs, product))
            np.divide(total, pairs, out=found, where=pairs > 0)
        return found

    def _exponent(self, counts: Array, sums: Array) -> Array:
        sizes, place = np.unique(self._layout["size"].to_numpy(float), return_inverse=True)
        level = (place[:, None] == np.arange(len(sizes))).astype(float)
        return exponent_of_sums(sizes, counts @ level, sums @ level)


def _same(names: "pd.Series[str]") -> NDArray[np.bool_]:
    values = names.to_numpy(dtype=str)
    return np.asarray(values[:, None] == values)


def _by_shell(table: pd.DataFrame, structure: "pd.Series[str]") -> tuple[Array, Array]:
    """Return numbers of pairs and sums of products, (K, 2 + NEAR) each."""
    row = table.structure.map({name: place for place, name in enumerate(structure)})
    kept = table[row.notna()]
    if kept.structure.nunique() != len(structure):
        missing = sorted(set(structure) - set(kept.structure))
        raise PeslossError(f"pair products: structure {missing[0]} is missing")
    column = np.minimum(np.searchsorted(EDGES, kept.high.to_numpy(float)), NEAR + 1)
    found = np.zeros((2, len(structure), 2 + NEAR))
    place = (row[row.notna()].to_numpy(int), column)
    np.add.at(found[0], place, kept.n_pairs.to_numpy(float))
    np.add.at(found[1], place, kept["product"].to_numpy(float))
    return found[0], found[1]


def parts(table: pd.DataFrame, by: str, smallest: int) -> Mapping[str, NDArray[Any]]:
    """Return masks of the phases with several sizes and ``smallest`` structures, or of all."""
    if not by:
        return {"": np.ones(len(table), dtype=bool)}
    masks = {str(name): (table[by] == name).to_numpy() for name in sorted(table[by].unique())}
    return {
        name: mask
        for name, mask in masks.items()
        if mask.sum() >= smallest and table.n_atoms[mask].nunique() > 1
    }
