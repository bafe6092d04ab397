"""What a job asks a cluster for: memory and time, from what its rule was measured to take."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pesloss.data.spec import DatasetSpec
from pesloss.job.files import read_table
from pesloss.report.cost import COST_COLUMNS

TIMES_MEASURED = 2  # memory: the same job on another machine, with another allocator
SPARE_MB = 500  # Snakemake itself, which runs in a cluster's job beside the script
RUN_MB = 20  # a further run in the same job: 6 at most were measured, of PaiNN
GPU_MB = 4000  # the libraries of a GPU, in the memory of the host; assumed, not measured
TIMES_AS_LONG = 10  # time: slow and busy nodes, slow file systems
SHORTEST_MINUTES = 15
# For rules that no job was measured of: more than any rule of the default preset took.
UNMEASURED_MIB, UNMEASURED_SECONDS = 700.0, 120.0


@dataclass(frozen=True)
class Requests:
    """Memory and time that jobs of each rule ask for."""

    peak_memory_mib: Mapping[str, float] = field(default_factory=dict)
    """Largest resident memory of a job, by rule."""
    longest_seconds: Mapping[str, float] = field(default_factory=dict)
    """Time of the longest job, by rule."""
    growth: float = 1.0
    """How many times larger than the data that were measured on those of the preset are."""

    @classmethod
    def read(cls, path: Path, growth: float = 1.0) -> "Requests":
        """Read what was measured; without the file, every rule counts as unmeasured.

        Parameters
        ----------
        path
            Table of `pesloss.report.cost.cost_table`.
        growth
            See the class.

        Raises
        ------
        PeslossError
            When the table cannot be read.
        """
        if not path.is_file():
            return cls(growth=growth)
        table = read_table(path, COST_COLUMNS)
        peaks = dict(zip(table.rule, table.peak_memory_mib, strict=True))
        return cls(peaks, dict(zip(table.rule, table.longest_seconds, strict=True)), growth)

    def memory_mb(self, rule: str, attempt: int = 1, gpu: bool = False, n_runs: int = 1) -> int:
        """Return the memory a job asks for, in MB, in hundreds.

        Twice the peak and something to spare. What a peak has above the smallest one, which is that
        of the imports, grows with the data; each further one of ``n_runs`` takes its own on top.
        The next attempt, after a job ran out of it, asks for twice as much.
        """
        peak = self.peak_memory_mib.get(rule, UNMEASURED_MIB)
        imports = min(peak, *self.peak_memory_mib.values(), UNMEASURED_MIB)
        needed = imports + (peak - imports) * self.growth
        asked = TIMES_MEASURED * needed + SPARE_MB + GPU_MB * gpu + RUN_MB * (n_runs - 1)
        return 100 * math.ceil(attempt * asked / 100)

    def minutes(self, rule: str, attempt: int = 1, seconds: float | None = None) -> int:
        """Return the time a job asks for, in whole minutes.

        Ten times what it was measured to take, a quarter hour at least; twice that at the second
        attempt.

        Parameters
        ----------
        rule, attempt
            Whose job, and which attempt at it.
        seconds
            What this job is expected to take, where that is known; left out: the longest of its
            rule, as it grows with the data.
        """
        if seconds is None:
            seconds = self.longest_seconds.get(rule, UNMEASURED_SECONDS) * self.growth
        return attempt * max(SHORTEST_MINUTES, math.ceil(TIMES_AS_LONG * seconds / 60))


def growth(datasets: Iterable[DatasetSpec], preset: str, measured: str = "default") -> float:
    """Return how many times larger the data of a preset are than those of the measured one.

    The largest ratio of all datasets whose size is given by preset; never below one.
    """
    sizes = [spec.n_structures for spec in datasets if isinstance(spec.n_structures, dict)]
    ratios = [n[preset] / n[measured] for n in sizes if preset in n and measured in n]
    return max(1.0, *ratios) if ratios else 1.0
