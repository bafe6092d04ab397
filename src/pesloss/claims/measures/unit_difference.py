"""Does the unit of energy change what a model learns? (C12)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import Comparison, Study, cell_mean, families
from pesloss.evaluation.results import RunResult
from pesloss.spec.run import same_except

TITLE = "difference after another unit"
WORDS = {"outputs=standardized": "(outputs standardized)", "outputs=plain": "(outputs plain)"}
EXPECTED = 0
MARGIN = 0.05
WHY = (
    "0: the unit does not matter. 0.05: predictions that differ by a twentieth of the errors "
    "change an rmse by about a thousandth."
)
SCOPE = "ablation"
OPTIONS = {"outputs": ("standardized", "plain")}
UNITS = {23.0605: "kcal/mol", 0.0367493: "Hartree"}
SAME_FOR_EVERY_UNIT = (
    "data", "split", "statistics", "model", "training_in_ev", "initial_weights", "batches",
    "device",
)  # fmt: skip


def measure(
    data: Study, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield how far predictions are from those of the same training in eV, relative to its errors.

    ``√⟨(Ê' − Ê)²⟩ / √⟨(Ê − E)²⟩`` over the test structures and seeds, ``Ê'`` after a training in
    another energy unit with the same seed, for each loss, force weight and unit. Only runs with
    the outputs that the option names are looked at.

    Raises
    ------
    PeslossError
        When hashes say that more than the unit differs between two runs.
    NotMeasurable
        When there are no such runs in eV and in another unit.
    """
    chosen = choose(options, OPTIONS, "unit_difference")
    standardized = chosen["outputs"] == "standardized"
    compared = [c for c in data.comparisons if _settings(c)["standardized_outputs"] == standardized]
    pairs = [(here, there) for here in compared for there in compared if _is_pair(here, there)]
    if not pairs:
        raise NotMeasurable(f"no runs with {chosen['outputs']} outputs in eV and in another unit")
    for here, there in pairs:
        for loss in there.losses:
            for weight in there.force_weights:
                yield _difference(here, there, loss, weight, chosen["outputs"], sampling)


def _settings(data: Comparison) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = data.results[0].record["training_settings"]
    return settings


def _is_pair(here: Comparison, there: Comparison) -> bool:
    """Tell whether two sets of runs are named alike but for the unit, the first in eV."""
    names = [
        (c.dataset, c.model, c.force_loss, c.metric, _but_unit(c.variant)) for c in (here, there)
    ]
    units = [_settings(c)["units_per_ev"] for c in (here, there)]
    return names[0] == names[1] and units[0] == 1 and units[1] != 1


def _but_unit(variant: str) -> set[str]:
    return {part for part in variant.split(",") if not part.startswith("units_per_ev=")}


def _difference(
    here: Comparison,
    there: Comparison,
    loss: str,
    weight: float,
    outputs: str,
    sampling: Sampling,
) -> Measurement | NotMeasurable:
    pairs = _paired(here.of(loss, weight), there.of(loss, weight))
    table = here.tested()
    errors = np.stack([[run.split("test").energy_error for run in pair] for pair in pairs])
    own, moved = errors[:, 0] ** 2, (errors[:, 1] - errors[:, 0]) ** 2

    def statistic(weights: Array) -> Array:
        return np.asarray(np.sqrt(cell_mean(moved, weights) / cell_mean(own, weights)))

    unit = _settings(there)["units_per_ev"]
    return sampling.interval(
        statistic,
        families(table),
        len(pairs),
        loss=loss,
        group=f"{UNITS.get(unit, f'{unit:g} per eV')}, {outputs} outputs",
        force_weight=weight,
        dataset=here.dataset,
        model=here.model,
    )


def _paired(here: list[RunResult], there: list[RunResult]) -> list[tuple[RunResult, RunResult]]:
    pairs = list(zip(here, there, strict=True))
    for pair in pairs:
        same_except([run.record for run in pair], SAME_FOR_EVERY_UNIT)
    return pairs
