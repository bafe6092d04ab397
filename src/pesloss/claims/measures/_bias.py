"""Bias and spread of errors: ``ΔE_k = b N_k`` for all alike structures, and the rest around it.

Alike are structures of one size group and, where asked, of one phase or composition group. The
square of a mean overstates the bias by its own noise, the more so as members of a family share
it. So ``b²`` is ``Σ ΔE_k ΔE_l / Σ N_k N_l`` over pairs of alike structures of different families,
under the same model: without bias its expectation is zero, and it may come out below.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pesloss.claims.measurement import Array, NotMeasurable
from pesloss.claims.runs import Comparison, families
from pesloss.inference import exponent_of_sums

BY = ("", "phase", "composition_group")


@dataclass(frozen=True)
class Parts:
    """Errors of K test structures under n_seeds models, sorted by size group and likeness."""

    structures: pd.DataFrame
    alike: NDArray[np.int64]  # (K,)
    error: Array  # (n_seeds, K) eV

    @classmethod
    def of(cls, data: Comparison, loss: str, weight: float, by: str) -> "Parts":
        """Take the test errors of a loss at one force weight.

        Structures whose like are all of one family are left out: their bias and their spread
        cannot be told apart.

        Raises
        ------
        NotMeasurable
            When none is left.
        """
        table = data.tested()
        keys = ["size_group", by] if by else ["size_group"]
        kept = (table.groupby(keys)["group"].transform("nunique") > 1).to_numpy()
        if not kept.any():
            raise NotMeasurable(f"{data.dataset}: no two families of like structures")
        part = table[kept].reset_index(drop=True)
        error = data.values(loss, weight, lambda t: t.energy_error)[:, kept]
        alike = np.asarray(part.groupby(keys).ngroup(), dtype=np.int64)
        return cls(part, alike, error)

    @cached_property
    def families(self) -> NDArray[np.str_]:
        """The family of each structure."""
        return families(self.structures)

    @cached_property
    def size_groups(self) -> list[str]:
        """Size groups, small to large."""
        mean = self.structures.groupby("size_group").n_atoms.mean()
        return [str(name) for name in mean.sort_values().index]

    @cached_property
    def _cells(self) -> pd.DataFrame:
        """One row a seed and structure: its family's cell among its like, and where these lie."""
        n_seeds, k = self.error.shape
        rows = pd.DataFrame(
            {
                "seed": np.repeat(np.arange(n_seeds), k),
                "alike": np.tile(self.alike, n_seeds),
                "family": np.tile(self.families, n_seeds),
                "level": np.tile(self.structures.size_group.map(self.size_groups.index), n_seeds),
            }
        )
        cell = rows.groupby(["seed", "alike", "family"]).ngroup()
        return rows.assign(cell=cell, group=rows.groupby(["seed", "alike"]).ngroup())

    def sums(self, weights: Array) -> tuple[Array, Array, Array]:
        """Return (B, size groups): weights, squared biases and squares, the last two summed."""
        cells = self._cells
        flat = weights.reshape(len(weights), -1)
        error = self.error.ravel()
        n = np.tile(self.structures.n_atoms.to_numpy(float), len(self.error))
        number, size, size_square, total, square = (
            flat * values @ _one_hot(cells.cell) for values in (1.0, n, n**2, error, error**2)
        )
        first = cells.drop_duplicates("cell").sort_values("cell")
        to_group = _one_hot(first["group"])
        pairs = (size @ to_group) ** 2 - size**2 @ to_group
        product = (total @ to_group) ** 2 - total**2 @ to_group
        known = pairs > 0.5  # a resample may have one family of a kind; sizes are whole numbers
        bias = np.divide(product, pairs, out=np.zeros(pairs.shape), where=known)
        number, size_square, square = (
            np.where(known, part @ to_group, 0.0) for part in (number, size_square, square)
        )
        to_level = _one_hot(first.drop_duplicates("group").sort_values("group").level)
        return number @ to_level, size_square * bias @ to_level, square @ to_level

    def exponent(self, weights: Array, part: str) -> Array:
        """Return the exponent (B,) of bias or spread over size groups.

        A group stands at its root mean square size for the bias, at its mean size for the spread:
        ``b N`` and ``σ √N`` then have exponents 1 and ½ whatever the sizes within a group.
        """
        counts, bias, square = self.sums(weights)
        n = self.structures.n_atoms.groupby(self.structures.size_group)
        if part == "bias":
            size = n.agg(lambda values: np.sqrt(np.mean(np.square(values, dtype=float))))
            return exponent_of_sums(size[self.size_groups].to_numpy(), counts, bias)
        return exponent_of_sums(n.mean()[self.size_groups].to_numpy(), counts, square - bias)

    def share(self, weights: Array, size_group: str) -> Array:
        """Return the share (B,) of bias in the mean squared error of a size group."""
        _, bias, square = self.sums(weights)
        place = self.size_groups.index(size_group)
        with np.errstate(invalid="ignore"):  # a resample without the size group has no share
            return np.asarray(bias[:, place] / square[:, place])


def _one_hot(place: "pd.Series[int]") -> csr_matrix:
    """Return the matrix that adds columns with the same number."""
    values = place.to_numpy(int)
    shape = (len(values), int(values.max()) + 1)
    return csr_matrix((np.ones(len(values)), (np.arange(len(values)), values)), shape=shape)
