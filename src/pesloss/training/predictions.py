"""The file of a run's predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pesloss.job.files import read_arrays


def read_predictions(path: Path | str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read arrays of a predictions file; errors as `pesloss.job.files.read_arrays`."""
    return read_arrays(path, names, "a predictions file")
