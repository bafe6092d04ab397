"""Finished runs whose errors are known, written as the workflow would have left them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from conftest import write_record
from numpy.typing import NDArray

from pesloss.claims.runs import Study, comparisons
from pesloss.claims.weights import Transfer, transfers
from pesloss.evaluation.results import RunResult
from pesloss.spec.run import Run
from pesloss.statistics.dataset import DatasetStatistics

Array = NDArray[np.float64]
Change = Callable[[Run, pd.DataFrame], Array]
BEND = 0.2  # of the planted curves: score = height + BEND (log10 w − best)²
HASHES = (
    "data", "split", "statistics", "model", "training", "training_in_ev", "initial_weights",
    "batches", "device",
)  # fmt: skip
SETTINGS = {"term_constants": True, "standardized_outputs": True, "units_per_ev": 1.0}


class Planted:
    """Writes finished runs whose errors are a known factor of the noise of the structures."""

    def __init__(self, folder: Path, scales: DatasetStatistics, n: int = 240) -> None:
        self.folder, self.scales, self.n = folder, scales, n
        self.results: list[RunResult] = []

    def labels(self, dataset: str) -> pd.DataFrame:
        rng = np.random.default_rng(len(dataset))
        names = [f"s{i:03}" for i in range(self.n)]
        n_atoms = np.round(2 ** rng.uniform(1, 6, self.n)).astype(int)
        return pd.DataFrame(
            {
                "structure": names,
                "group": names,
                "split": np.resize(["validation", "test"], self.n),
                "n_atoms": n_atoms,
            }
        )

    def add(
        self,
        run: Run,
        log_error: Change,
        constants: Sequence[float] = (1.0, 1.0),
        settings: Mapping[str, Any] | None = None,
        hashes: Mapping[str, str] | None = None,
    ) -> None:
        folder, table = self.folder / run.folder, self.labels(run.dataset)
        record = {
            "run": str(run.folder),
            **run.columns,
            "hashes": {**dict.fromkeys(HASHES, "same"), **(hashes or {})},
            "final": {},
            "training_settings": {**SETTINGS, **(settings or {})},
            "constants": dict(zip(("energy", "forces"), constants, strict=True)),
        }
        noise = np.random.default_rng(run.seed).normal(size=(2, self.n))
        factor = np.exp(log_error(run, table))
        found = table.assign(energy_error=factor * noise[0], force_mse=(factor * noise[1]) ** 2)
        write_record(folder, record, found)
        self.results.append(RunResult(run, folder))

    def sweeps(
        self,
        best: Mapping[str, float],
        loss: str = "raw",
        constants: Mapping[str, Sequence[float]] | None = None,
        weights: Sequence[float] = (0.1, 1.0, 10.0),
        seeds: Sequence[int] = (0, 1),
        noise: float = 0.0,
        bend: float = BEND,
    ) -> "Planted":
        """Add runs of a loss on datasets with known best weights (log10)."""
        for dataset, where in best.items():
            for weight in weights:
                for seed in seeds:
                    run = Run(dataset, "schnet", loss, force_weight=weight, seed=seed)

                    def log_error(run: Run, table: pd.DataFrame, where: float = where) -> Array:
                        height = bend * (np.log10(run.force_weight) - where) ** 2
                        parts = [run.seed, round(100 * run.force_weight), len(run.energy_loss)]
                        own = np.random.default_rng(parts).normal(size=len(table))
                        return np.asarray(height + noise * own)

                    self.add(run, log_error, (constants or {}).get(dataset, (1.0, 1.0)))
        return self

    def study(self, pooled: bool = False) -> Study:
        found = [
            comparison
            for name in sorted({result.run.dataset for result in self.results})
            for comparison in comparisons(
                [r for r in self.results if r.run.dataset == name],
                self.labels(name),
                self.scales,
                pooled=pooled,
            )
        ]
        return Study({}, tuple(found))

    def transfer(self, loss: str = "raw") -> Transfer:
        ((_, by_loss),) = transfers(self.study().comparisons)
        return by_loss[loss]
