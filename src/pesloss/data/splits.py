"""Split a dataset: families whole, sizes and phases balanced."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from pesloss.job.errors import PeslossError, wrong_value

ADVICE = "`groups: blocks` cuts trajectories, `groups: none` takes each structure alone"
BINS_PER_DOUBLING = 1.0


def split(
    table: pd.DataFrame,
    fractions: Mapping[str, float],
    rng: np.random.Generator,
    where: str = "dataset",
) -> pd.DataFrame:
    """Deal the structures of a dataset to splits.

    Families go as a whole to one split, in random order but large families first, each to the
    split that lacks most of what it brings: structures in all, per bin of log size, and per phase.

    Parameters
    ----------
    table
        Columns structure, group (family), n_atoms and, if it has one, phase.
    fractions
        Share of each split; they add up to one.
    rng
        Source of the order.
    where
        What to call the dataset in an error.

    Returns
    -------
    Columns structure and split, in the order of ``table``.

    Raises
    ------
    PeslossError
        When shares do not add up or there are fewer families than splits.
    """
    _check_fractions(fractions, where)
    families, brings = _contents(table)
    if len(families) < len(fractions):
        allowed = f"{len(fractions)} or more, one per split ({ADVICE})"
        raise wrong_value(where, "number of families", len(families), allowed)
    chosen = _deal(brings, np.array(list(fractions.values())), rng)
    names = dict(zip(families, (list(fractions)[s] for s in chosen), strict=True))
    return pd.DataFrame({"structure": table["structure"], "split": table["group"].map(names)})


def _check_fractions(fractions: Mapping[str, float], where: str) -> None:
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise wrong_value(where, f"splits.{name}", fraction, "numbers between 0 and 1")
    if not np.isclose(sum(fractions.values()), 1.0):
        raise PeslossError(f"{where}: splits add up to {sum(fractions.values())!r}; allowed: 1")


def _contents(table: pd.DataFrame) -> tuple[list[str], npt.NDArray[np.float64]]:
    bins = np.floor(np.log2(table["n_atoms"]) * BINS_PER_DOUBLING).astype(int).astype(str)
    traits = pd.DataFrame({"bin": bins})
    if "phase" in table:
        traits["phase"] = table["phase"]
    brings = pd.get_dummies(traits, dtype=float).assign(all=1.0)
    brings = brings.groupby(table["group"].to_numpy(), sort=True).sum()
    return [str(name) for name in brings.index], brings.to_numpy()


def _deal(
    brings: npt.NDArray[np.float64], fractions: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the split of each family; no split stays empty.

    The choice is that which lowers most the sum of (structures − wanted)² / wanted over traits.
    """
    wanted = fractions[:, None] * brings.sum(axis=0)
    lacking = wanted.copy()
    chosen = np.zeros(len(brings), dtype=np.int64)
    shuffled = rng.permutation(len(brings))
    order = shuffled[np.argsort(-brings[shuffled, -1], kind="stable")]
    for place, family in enumerate(order):
        gain = (brings[family] * (2 * lacking - brings[family]) / wanted).sum(axis=1)
        filled = np.unique(chosen[order[:place]])
        if len(fractions) - len(filled) >= len(order) - place:
            gain[filled] = -np.inf
        chosen[family] = int(np.argmax(gain))
        lacking[chosen[family]] -= brings[family]
    return chosen
