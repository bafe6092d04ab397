"""Splits keep families whole and sizes balanced."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pesloss.data.splits import split
from pesloss.job.errors import PeslossError

FRACTIONS = {"train": 0.6, "validation": 0.15, "test": 0.25}


def table(families: list[int], sizes: list[int]) -> pd.DataFrame:
    group = np.repeat(np.arange(len(families)), families)
    n_atoms = np.repeat(sizes, families)
    names = [f"s{k}" for k in range(len(group))]
    return pd.DataFrame({"structure": names, "group": group.astype(str), "n_atoms": n_atoms})


@given(
    families=st.lists(st.integers(1, 9), min_size=3, max_size=60),
    seed=st.integers(0, 2**32 - 1),
    one_size=st.booleans(),
)
def test_twins_stay_together_and_no_split_is_empty(
    families: list[int], seed: int, one_size: bool
) -> None:
    rng = np.random.default_rng(seed)
    sizes = [8] * len(families) if one_size else rng.integers(2, 500, len(families)).tolist()
    data = table(families, sizes)
    splits = split(data, FRACTIONS, rng)
    assert list(splits["structure"]) == list(data["structure"])
    assert set(splits["split"]) == set(FRACTIONS)
    assert (splits["split"].groupby(data["group"]).nunique() == 1).all()


def test_shares_hold_in_every_size_bin() -> None:
    rng = np.random.default_rng(1)
    sizes = np.exp(rng.uniform(np.log(2), np.log(512), 500)).astype(int)
    data = table([4] * 500, sizes.tolist())
    splits = split(data, FRACTIONS, rng)
    shares = pd.crosstab(np.floor(np.log2(data["n_atoms"])), splits["split"], normalize="index")
    for name, fraction in FRACTIONS.items():
        assert shares[name].to_numpy() == pytest.approx(fraction, abs=0.05)


def test_a_phase_of_few_large_families_reaches_every_split() -> None:
    data = table([4] * 200 + [20] * 8, [16] * 208)
    data["phase"] = np.where(data["group"].astype(int) < 200, "crystal", "liquid")
    splits = split(data, FRACTIONS, np.random.default_rng(2))
    assert (pd.crosstab(data["phase"], splits["split"]) > 0).all().all()


def test_order_is_that_of_the_generator() -> None:
    data = table([1] * 100, [4] * 100)
    one, same, other = (split(data, FRACTIONS, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_families_are_refused(n: int) -> None:
    with pytest.raises(PeslossError, match=f"mine: number of families is {n}; allowed: 3 or more"):
        split(table([5] * n, [4] * n), FRACTIONS, np.random.default_rng(0), where="mine")


@pytest.mark.parametrize("train", [0.5, -0.1, float("nan")])
def test_wrong_shares_are_refused(train: float) -> None:
    with pytest.raises(PeslossError, match="splits"):
        split(table([1] * 9, [4] * 9), {**FRACTIONS, "train": train}, np.random.default_rng(0))
