"""Random halves of a dataset by family, alike in size and phase."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Families:
    """K structures in F families."""

    family: NDArray[np.intp]
    """(K,) index of each structure's family."""
    order: NDArray[np.intp]
    """(F,) families sorted by phase, then by mean log size."""

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Families":
        """Read families off a structure table with the columns group, phase and n_atoms."""
        names, family = np.unique(table["group"].to_numpy(str), return_inverse=True)
        family = family.ravel()
        size = np.bincount(family, np.log(table.n_atoms)) / np.bincount(family)
        phase = np.empty(len(names), dtype=object)
        phase[family] = table.phase.to_numpy(str)
        return cls(family, np.lexsort((size, phase.astype(str))))

    @property
    def number(self) -> int:
        """F."""
        return len(self.order)

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw as many families as there are, with replacement: (F,) counts."""
        return rng.multinomial(self.number, np.full(self.number, 1 / self.number)).astype(float)

    def halves(self, counts: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Say which structures fall into the first half, (K,).

        Of every two neighbours in phase and size that were drawn, one falls into each half: a toss
        says which. A family that was drawn twice stays in one half.
        """
        present = self.order[counts[self.order] > 0]
        first = np.resize([True, False], len(present) + 1)[: len(present)]
        toss = rng.random((len(present) + 1) // 2) < 0.5
        chosen = np.zeros(self.number, dtype=bool)
        chosen[present] = first ^ np.repeat(toss, 2)[: len(present)]
        return np.asarray(chosen[self.family])
