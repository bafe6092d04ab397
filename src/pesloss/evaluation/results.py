"""Finished runs, as evaluation and claims read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pesloss.spec.manifest import RunFolder
from pesloss.spec.run import Run


@dataclass(frozen=True)
class RunResult:
    """A finished run; its tables are read, and checked, when they are asked for."""

    run: Run
    folder: Path

    @cached_property
    def files(self) -> RunFolder:
        """The files of the run."""
        return RunFolder(self.folder)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The run's record."""
        return self.files.record

    @cached_property
    def structures(self) -> pd.DataFrame:
        """Errors of the held-out structures."""
        columns = ("split", "n_atoms", "energy_error", "force_mse")
        return self.files.table("structures.csv.gz", columns, unique=("structure",))

    @cached_property
    def atoms(self) -> pd.DataFrame:
        """Force errors of the test structures' atoms."""
        return self.files.table("atoms.csv.gz", ("structure", "force_error_square"))

    @cached_property
    def loss_signal(self) -> pd.DataFrame:
        """Mean loss terms of the training structures by window of steps."""
        return self.files.table("loss_signal.csv.gz", ("step", "structure", "energy_term"))

    @cached_property
    def gradient_signal(self) -> pd.DataFrame:
        """Gradient norms of some training structures at some steps."""
        return self.files.table("gradient_signal.csv", ("step", "structure"))

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Read a further file of the run: one of the statistic's ``RUN_INPUTS``."""
        return self.files.table(name, columns)

    def split(self, name: str) -> pd.DataFrame:
        """Return the errors of one split's structures, ordered by name."""
        found = self.structures[self.structures.split == name]
        return found.sort_values("structure", ignore_index=True)


def read_run(folder: Path) -> RunResult:
    """Return the finished run in ``folder``.

    Raises
    ------
    PeslossError
        When its record is damaged or another run's; each of its files is checked on reading.
    """
    return RunResult(RunFolder(folder).run, folder)
