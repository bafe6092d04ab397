"""What a reader should know about a fit: outliers and warnings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def outliers(residual: Array, scale: Array, size: Array) -> NDArray[np.intp]:
    """Structures more than 8 robust standard deviations out, whichever scale is right.

    An outlier spoils the fitted scale, so it must also stand out against √N alone.
    """
    return np.flatnonzero(_far(residual / scale) & _far(residual / np.sqrt(size)))


def _far(z: Array) -> NDArray[np.bool_]:
    away = np.abs(z - np.median(z))
    robust = 1.4826 * float(np.median(away))
    return np.asarray(away > 8 * robust) if robust > 0 else np.zeros(len(z), dtype=bool)


def warnings(at_boundary: Sequence[str], outliers: NDArray[np.intp], converged: bool) -> list[str]:
    """One sentence for each thing that needs attention."""
    lines = []
    if at_boundary:
        lines.append(f"{', '.join(at_boundary)}: spread estimated as 0")
    if outliers.size:
        first = ", ".join(map(str, outliers[:5]))
        lines.append(f"{outliers.size} outliers widen all spreads, first structures: {first}")
    if not converged:
        lines.append("the likelihood was still rising after the last iteration")
    return lines
