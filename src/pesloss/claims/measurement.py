"""What a statistic is given and what it returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pesloss.inference import Estimate, two_level_estimate
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import read_table
from pesloss.statistics.dataset import DatasetStatistics

Array = NDArray[np.float64]
HELD_OUT = ("validation", "test")


class NotMeasurable(PeslossError):
    """A statistic has no meaning on this dataset; the reason is reported, no row is made up."""


@dataclass(frozen=True)
class Measurement:
    """One number with its interval, and what it is a number of."""

    estimate: float
    low: float
    high: float
    n_structures: int
    n_seeds: int
    loss: str = ""
    group: str = ""
    force_weight: float | None = None
    dataset: str = ""
    model: str = ""
    """Dataset and model, where the statistic is one of a whole ablation."""
    uncertainty: Estimate | None = None
    """What the interval was made from, for p values; without it they are taken as normal."""


@dataclass(frozen=True)
class Sampling:
    """How intervals are made: bootstrap over families and seeds together (science.md §5)."""

    rng: np.random.Generator
    n_resamples: int
    level: float

    def interval(
        self,
        statistic: Callable[[Array], Array],
        families: NDArray[Any],
        n_seeds: int = 1,
        **about: Any,
    ) -> "Measurement | NotMeasurable":
        """Measure a statistic of weights (B, n_seeds, K) of the structures under each seed.

        Returns
        -------
        Measurement or NotMeasurable
            The latter when there are too few families or too many resamples without an answer. It
            is returned, not raised, so that the other groups and losses are still measured.
        """
        try:
            found = two_level_estimate(statistic, families, n_seeds, self.rng, self.n_resamples)
        except PeslossError as too_little:
            named = " ".join(str(about[key]) for key in ("loss", "group") if about.get(key))
            return NotMeasurable(f"{named}: {too_little}" if named else str(too_little))
        half_width = found.half_width(self.level)
        low, high = found.value - half_width, found.value + half_width
        return Measurement(
            found.value, low, high, len(families), n_seeds, **about, uncertainty=found
        )


@dataclass(frozen=True)
class LabelData:
    """The labels of one dataset."""

    dataset: str
    labels: pd.DataFrame
    force_labels: pd.DataFrame
    statistics: DatasetStatistics
    results: Path = Path()
    """The results folder, where further files of the dataset are."""

    @classmethod
    def read(cls, folder: Path) -> "LabelData":
        """Read the label tables in ``results/statistics/DATASET``.

        A dataset without forces has an empty force table.

        Raises
        ------
        PeslossError
            When a file is damaged, or not of this dataset.
        """
        statistics = DatasetStatistics.read(folder / "statistics.json", folder.name)
        needed = ("split", "n_atoms", "standardized_energy")
        labels = read_table(folder / "labels.csv", needed, unique=("structure",))
        forces = read_table(
            folder / "force_labels.csv", ("mean_square",), unique=("structure", "species")
        )
        _check_labels(folder, labels, forces, statistics)
        return cls(folder.name, labels, forces, statistics, folder.parent.parent)

    def table(self, path: str, columns: Sequence[str]) -> pd.DataFrame:
        """Read a further result of the dataset: one of the statistic's ``INPUTS``."""
        return read_table(self.results / path.format(dataset=self.dataset), columns)

    @property
    def held_out(self) -> pd.DataFrame:
        """Labels of validation and test structures, which the statistics have not seen."""
        return self.labels[self.labels.split.isin(HELD_OUT)]

    @property
    def held_out_forces(self) -> pd.DataFrame:
        """Force moments of held-out structures with their families and sizes.

        Raises
        ------
        NotMeasurable
            When the dataset has no forces.
        """
        if self.force_labels.empty:
            raise NotMeasurable(f"{self.dataset}: no forces")
        return self.force_labels.merge(
            self.held_out[["structure", "group", "n_atoms"]], on="structure"
        )


def _check_labels(
    folder: Path, labels: pd.DataFrame, forces: pd.DataFrame, statistics: DatasetStatistics
) -> None:
    """Refuse labels that are not of the structures the statistics are of."""
    n_train = int((labels.split == "train").sum())
    if n_train != statistics.n_structures:
        allowed = f"{statistics.n_structures}, as {folder / 'statistics.json'} has; delete both"
        raise wrong_value(str(folder / "labels.csv"), "number of training labels", n_train, allowed)
    for column, known in (("structure", labels.structure), ("species", statistics.species)):
        unknown = sorted(set(forces[column]) - set(known))
        if unknown:
            allowed = f"a {column} of the dataset {statistics.dataset}; delete it and run again"
            raise wrong_value(str(folder / "force_labels.csv"), column, unknown[0], allowed)
