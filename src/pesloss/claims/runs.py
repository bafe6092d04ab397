"""Runs that may be compared: the same but for the loss, its force weight and the seed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pesloss.claims.measurement import Array, LabelData, NotMeasurable
from pesloss.evaluation.results import RunResult
from pesloss.evaluation.score import best_weight, score
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.spec.run import BASE, same_except, shortest
from pesloss.statistics.dataset import DatasetStatistics

SEVERAL = "several"
SAME_FOR_EVERY_LOSS = (
    "data", "split", "statistics", "model", "training", "initial_weights", "batches", "device"
)  # fmt: skip
SAME_FOR_EVERY_SEED = ("data", "split", "statistics", "model", "training", "device")


@dataclass(frozen=True)
class Comparison:
    """Runs on one dataset with one model, variant, force loss and metric."""

    dataset: str
    model: str
    variant: str
    force_loss: str
    metric: str
    results: tuple[RunResult, ...]
    labels: pd.DataFrame
    statistics: DatasetStatistics
    tuned: tuple[str, ...] = ()
    """Settings of the training of which each loss has its own best value."""

    def __post_init__(self) -> None:
        """Refuse runs whose hashes say that more than the loss differs."""
        records = [result.record for result in self.results]
        tuned = ("training",) if self.tuned else ()
        same_except(records, _without(SAME_FOR_EVERY_SEED, tuned))
        for seed in {record["seed"] for record in records}:
            same = [r for r in records if r["seed"] == seed]
            same_except(same, _without(SAME_FOR_EVERY_LOSS, tuned))
        self._check_tuned(records)
        self._check_seeds()

    def _check_tuned(self, records: list[dict[str, Any]]) -> None:
        for record in records if self.tuned else ():
            settings = _fixed(record, self.tuned)
            for key, value in _fixed(records[0], self.tuned).items():
                if settings[key] != value:
                    where = f"{record['run']}: training"
                    raise wrong_value(where, key, settings[key], f"{value!r}, or {key} tuned")

    def variant_of(self, loss: str) -> str:
        """Return the variant of the runs of a loss, with the values chosen for it."""
        if not self.tuned:
            return self.variant
        chosen = next((r for r in self.results if r.run.energy_loss == loss), self.results[0])
        values = chosen.record["training_settings"]
        text = ",".join(f"{key}={shortest(values[key])}" for key in self.tuned)
        return f"tuned {text}" if self.variant == BASE else f"{self.variant},tuned {text}"

    def _check_seeds(self) -> None:
        runs = sorted(result.run for result in self.results)
        seeds: dict[str, list[int]] = {}
        for run in runs:
            seeds.setdefault(f"{run.energy_loss} at weight {run.force_weight:g}", []).append(
                run.seed
            )
        expected = next(iter(seeds.values()), [])
        for which, found in seeds.items():
            if found != expected:
                where = f"{self.dataset}/{self.model}"
                raise PeslossError(f"{where}: seeds of {which} are {found}; allowed: {expected}")

    @property
    def losses(self) -> list[str]:
        """Energy losses, in alphabetical order."""
        return sorted({result.run.energy_loss for result in self.results})

    @property
    def force_weights(self) -> list[float]:
        """Force weights, in increasing order."""
        return sorted({result.run.force_weight for result in self.results})

    def of(self, loss: str, force_weight: float) -> list[RunResult]:
        """Return the runs of one loss at one force weight, one a seed, in the order of seeds.

        Raises
        ------
        NotMeasurable
            When there is none.
        """
        found = [
            result
            for result in self.results
            if result.run.energy_loss == loss and result.run.force_weight == force_weight
        ]
        if not found:
            raise NotMeasurable(f"{self.dataset}: no run of loss {loss} at weight {force_weight:g}")
        return sorted(found, key=lambda result: result.run.seed)

    def weights_of(self, loss: str) -> list[float]:
        """Return the force weights that a loss was trained with, in increasing order."""
        return sorted({r.run.force_weight for r in self.results if r.run.energy_loss == loss})

    def best_weight(self, loss: str, among: Iterable[float] | None = None) -> float:
        """Return the force weight at which the loss does best on validation structures.

        Of all that it was trained with, or of those of ``among``.
        """
        return best_weight(
            {
                weight: [score(result.split("validation")) for result in self.of(loss, weight)]
                for weight in (self.weights_of(loss) if among is None else among)
            }
        )

    def tested(self) -> pd.DataFrame:
        """Return the test structures with their groups, ordered by name."""
        return self.results[0].split("test")

    def values(
        self,
        loss: str,
        force_weight: float,
        of: Callable[[pd.DataFrame], pd.Series],
        split: str = "test",
    ) -> Array:
        """Return a quantity of the structures of one split, one row a seed, shape (n_seeds, K)."""
        tables = [result.split(split) for result in self.of(loss, force_weight)]
        return np.stack([of(table).to_numpy(float) for table in tables])


@dataclass(frozen=True)
class Study:
    """All labels and runs of an ablation, for statistics that compare datasets or variants."""

    labels: Mapping[str, LabelData]
    comparisons: tuple[Comparison, ...]
    dataset: str = SEVERAL


def comparisons(
    results: Iterable[RunResult],
    labels: pd.DataFrame,
    statistics: DatasetStatistics,
    tuned: tuple[str, ...] = (),
    pooled: bool = False,
) -> Iterator[Comparison]:
    """Group runs on one dataset into those that may be compared.

    Of the settings in ``tuned`` each loss has the values with the lowest validation score, at
    whatever force weight they have it. Of runs ``pooled`` from several ablations, which may have
    other seeds, those with a seed that every loss and force weight has are taken.
    """

    def key(result: RunResult) -> tuple[str, ...]:
        run = result.run
        kept = tuple(pair for pair in run.changes if pair[0] not in tuned)
        return (
            run.dataset,
            run.model,
            replace(run, changes=kept).variant,
            run.force_loss,
            run.metric,
        )

    for (dataset, model, variant, force_loss, metric), group in groupby(
        sorted(results, key=key), key
    ):
        together = tuple(group)
        chosen = _best_settings(together) if tuned else together
        chosen = _of_common_seeds(chosen) if pooled else chosen
        yield Comparison(
            dataset, model, variant, force_loss, metric, chosen, labels, statistics, tuned
        )


def _of_common_seeds(results: tuple[RunResult, ...]) -> tuple[RunResult, ...]:
    """Return the runs whose seeds every loss has at every force weight it was trained with."""
    seeds: dict[tuple[str, float], set[int]] = {}
    for run in (result.run for result in results):
        seeds.setdefault((run.energy_loss, run.force_weight), set()).add(run.seed)
    common = set.intersection(*seeds.values())
    return tuple(result for result in results if result.run.seed in common)


def _best_settings(results: tuple[RunResult, ...]) -> tuple[RunResult, ...]:
    """Return each loss's runs under the changes of settings that suit it best."""

    def key(result: RunResult) -> tuple[str, tuple[tuple[str, float], ...]]:
        return result.run.energy_loss, result.run.changes

    found: dict[str, tuple[float, list[RunResult]]] = {}
    for (loss, _), group in groupby(sorted(results, key=key), key):
        runs = list(group)
        scores: dict[float, list[float]] = {}
        for run in runs:
            scores.setdefault(run.run.force_weight, []).append(score(run.split("validation")))
        best = min(float(np.mean(values)) for values in scores.values())
        if loss not in found or best < found[loss][0]:
            found[loss] = (best, runs)
    return tuple(run for _, runs in found.values() for run in runs)


def _without(names: tuple[str, ...], some: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in some)


def _fixed(record: Mapping[str, Any], tuned: tuple[str, ...]) -> dict[str, Any]:
    settings: Mapping[str, Any] = record["training_settings"]
    return {key: value for key, value in settings.items() if key not in tuned}


def cell_mean(values: Array, weights: Array) -> Array:
    """Return weighted means over cells: values (n_seeds, K), weights (B, n_seeds, K), to (B,)."""
    total = weights.reshape(len(weights), -1) @ values.ravel()
    return np.asarray(total / weights.sum(axis=(1, 2)), dtype=np.float64)


def families(table: pd.DataFrame) -> NDArray[np.str_]:
    """Return the family of each structure."""
    return table["group"].to_numpy(dtype=str)
