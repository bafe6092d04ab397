"""Options of statistics and the metrics they may name."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pesloss.claims.measurement import Array
from pesloss.job.errors import wrong_value

METRICS: dict[str, Callable[[Array], Array]] = {
    "mse": np.square,
    "mae": np.abs,
    "huber": lambda x: np.where(np.abs(x) <= 1, np.square(x) / 2, np.abs(x) - 0.5),
}


def choose(
    options: Mapping[str, Any], known: Mapping[str, tuple[Any, ...]], statistic: str
) -> dict[str, Any]:
    """Return the value of each known option; the first allowed value is the default.

    Raises
    ------
    PeslossError
        For an option or a value that is not known.
    """
    for key, value in options.items():
        if key not in known:
            raise wrong_value(statistic, "option", key, sorted(known))
        if value not in known[key]:
            raise wrong_value(statistic, f"option {key}", value, known[key])
    return {key: options.get(key, allowed[0]) for key, allowed in known.items()}


def metric(name: str, values: Array) -> Array:
    """Return each value's contribution to a metric; Huber's δ is 1."""
    return np.asarray(METRICS[name](values), dtype=np.float64)
