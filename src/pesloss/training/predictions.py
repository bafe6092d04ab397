"""The file of a run's predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesloss.errors import PeslossError


def read_predictions(path: Path | str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read a predictions file.

    Raises
    ------
    PeslossError
        When it is missing, truncated or lacks an array.
    """
    try:
        with Path(path).open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except FileNotFoundError:
        raise PeslossError(f"{path}: no such file") from None
    except Exception as error:
        raise PeslossError(
            f"{path}: not a predictions file ({error}); delete it, run again"
        ) from None
