"""How does the gradient of a predicted energy by the parameters grow with size? (C5)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.measures._slopes import slope_interval
from pesloss.claims.runs import Comparison
from pesloss.evaluation.results import RunResult

TITLE = "exponent of ‖∂Ê/∂θ‖"
WORDS = {"at=end": "after training", "at=start": "before training"}
EXPECTED = 0.5
MARGIN = 0.1
WHY = (
    "β is ½ where the gradients of atoms add like noise, and 1 where they add up. 0.1 is a fifth "
    "of the distance between ½ and 1; over two decades of size it makes a factor 1.6."
)
SCOPE = "runs"
RUN_INPUTS = ("gradient_signal.csv",)
OPTIONS = {"at": ("end", "start")}


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield β of ``⟨‖∂Ê/∂θ‖²⟩ ∝ N^(2β)`` on training structures (science.md §3).

    ½ where the atoms' gradients add like noise, 1 where they add up. Each loss stands at its own
    best weight; at the start of training no loss has acted yet and there is one row for all.
    """
    chosen = choose(options, OPTIONS, "jacobian_exponent")
    losses = data.losses if chosen["at"] == "end" else data.losses[:1]
    for loss in losses:
        weight = data.best_weight(loss)
        parts = [gradients_at(result, chosen["at"]) for result in data.of(loss, weight)]
        table = data.labels.set_index("structure").loc[parts[0].index].reset_index()
        square: Array = np.stack([part.energy_jacobian.to_numpy() ** 2 for part in parts])
        late = chosen["at"] == "end"
        about: dict[str, Any] = {"loss": loss, "force_weight": weight} if late else {}
        yield slope_interval(table, square, sampling, half=True, **about)


def gradients_at(result: RunResult, at: str) -> pd.DataFrame:
    """Return the gradient norms at the start or the end of a run, by structure, in their order."""
    table = result.gradient_signal
    step = table.step.min() if at == "start" else table.step.max()
    found: pd.DataFrame = table[table.step == step].set_index("structure").sort_index()
    return found
