"""Fitted attributes as plain values and back."""

from typing import Any, TypeVar

import numpy as np

from pesloss.scales.likelihood_ratio import RatioTest

Fitted = TypeVar("Fitted")

FIELDS = (
    "mean",
    "std",
    "shared_std",
    "structure_std",
    "mean_se",
    "std_se",
    "shared_std_se",
    "structure_std_se",
    "mean_dof",
    "std_low",
    "std_high",
    "log_likelihood",
)
_NUMBERS = (*FIELDS, "scale_floor", "mean_fraction")
_LISTS = ("species", "unidentified", "at_boundary", "floored", "warnings")
_PLAIN = (*_LISTS, "converged", "n_structures")
_ARRAYS = {"identifiable": np.bool_, "outliers": np.intp}


def pack(fitted: object) -> dict[str, Any]:
    """Return a JSON-able copy; NaN becomes null."""
    content = {name: getattr(fitted, name) for name in ("method", "shared")}
    for name in (*_NUMBERS, *_ARRAYS):
        content[name] = _without_nan(np.asarray(getattr(fitted, f"{name}_")).tolist())
    for name in _PLAIN:
        value = getattr(fitted, f"{name}_")
        content[name] = list(value) if isinstance(value, list) else value
    tests: list[RatioTest] = getattr(fitted, "tests_")  # noqa: B009
    content["tests"] = [test._asdict() for test in tests]
    return content


def _without_nan(value: object) -> object:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def unpack(target: Fitted, content: dict[str, Any]) -> Fitted:
    """Set the attributes that `pack` wrote on ``target``."""
    for name in _NUMBERS:
        value = np.array(content[name], dtype=np.float64)
        setattr(target, f"{name}_", value if value.ndim else float(value))
    for name, kind in _ARRAYS.items():
        setattr(target, f"{name}_", np.array(content[name], dtype=kind))
    for name in _PLAIN:
        setattr(target, f"{name}_", content[name])
    tests = [RatioTest(**test) for test in content["tests"]]
    setattr(target, "tests_", tests)  # noqa: B010
    return target
