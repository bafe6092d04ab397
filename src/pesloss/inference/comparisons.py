"""Many comparisons at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pesloss.job.errors import wrong_value


def adjust(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down correction: p values that hold for the whole family of comparisons.

    Parameters
    ----------
    p_values
        Raw p values in [0, 1], any number of them (none gives none).

    Returns
    -------
    ndarray
        Adjusted p values in the same order; rejecting those below a level keeps the chance of
        any false rejection in the family below that level, whatever the dependence.

    Raises
    ------
    PeslossError
        When a value lies outside [0, 1].
    """
    from statsmodels.stats.multitest import multipletests  # slow to import, and rarely needed

    values = np.asarray(p_values, dtype=np.float64).ravel()
    wrong = values[~((values >= 0) & (values <= 1))]
    if wrong.size:
        raise wrong_value("adjust", "p_values", float(wrong[0]), "numbers in [0, 1]")
    if values.size == 0:
        return values
    return np.asarray(multipletests(values, method="holm")[1], dtype=np.float64)
