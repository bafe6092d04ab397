"""What is planted in labels without geometry is in them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pesloss.data import generate
from pesloss.data.kinds import labels, supercells
from pesloss.data.spec import DatasetSpec

COUNTS = "^n_[A-Z]"


def deviation(
    recipe: labels.Recipe, table: pd.DataFrame
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    mu = [recipe.species[c.removeprefix("n_")].mu for c in table.filter(regex=COUNTS).columns]
    return np.asarray(table["energy"] - table.filter(regex=COUNTS).to_numpy() @ np.array(mu))


@pytest.mark.parametrize(("kappa", "sigma", "tau"), [(1.5, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_planted_variances_are_found_again(kappa: float, sigma: float, tau: float) -> None:
    species = {
        "H": labels.Spread(mu=-3.0, sigma=0.2 * sigma, tau=0.1 * tau),
        "O": labels.Spread(mu=-9.0, sigma=1.1 * sigma, tau=0.3 * tau),
    }
    recipe = labels.Recipe(species=species, kappa=kappa)
    table = labels.draw(recipe, 20_000, np.random.default_rng(5))
    n_H, n_O = table["n_H"], table["n_O"]
    variance = (
        kappa**2 + sigma**2 * (0.04 * n_H + 1.21 * n_O) + (tau * (0.1 * n_H + 0.3 * n_O)) ** 2
    )
    standardised = deviation(recipe, table) / np.sqrt(variance)
    bins = pd.cut(np.log(table["n_atoms"]), 5)
    assert pd.Series(standardised).groupby(bins, observed=True).std().to_numpy() == pytest.approx(
        1, abs=0.06
    )
    assert abs(standardised.mean()) < 0.03


def test_shuffled_deviations_know_no_size() -> None:
    shuffled = labels.Recipe(shuffle_sizes=True)
    table = labels.draw(shuffled, 5000, np.random.default_rng(0))
    square = deviation(shuffled, table) ** 2
    assert abs(np.corrcoef(np.log(table["n_atoms"]), square)[0, 1]) < 0.05


@settings(max_examples=30)
@given(
    n_species=st.integers(1, 6),
    size=st.integers(1, 40),
    proportions=st.sampled_from(["equal", "random"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_compositions_keep_to_the_recipe(
    n_species: int, size: int, proportions: "labels.Proportions", seed: int
) -> None:
    recipe = labels.Recipe(
        min_atoms=size, max_atoms=size, max_species=n_species, proportions=proportions
    )
    counts = labels.draw(recipe, 30, np.random.default_rng(seed)).filter(regex=COUNTS).to_numpy()
    assert (counts.sum(axis=1) == size).all()
    assert ((counts > 0).sum(axis=1) <= n_species).all()
    if proportions == "equal":
        largest, smallest = counts.max(axis=1), np.where(counts > 0, counts, size).min(axis=1)
        assert (largest - smallest <= 1).all()


def test_sizes_are_log_uniform() -> None:
    table = labels.draw(labels.Recipe(), 4000, np.random.default_rng(3))
    assert table["n_atoms"].min() == 2
    assert table["n_atoms"].max() > 500
    octaves = np.histogram(np.log2(table["n_atoms"]), bins=range(1, 10))[0]
    assert octaves == pytest.approx(np.full(8, 500), rel=0.2)


def test_copies_have_exactly_as_many_times_the_energy() -> None:
    table = supercells.draw(supercells.Recipe(), 500, np.random.default_rng(0))
    assert table["n_atoms"].nunique() > 30
    for _, family in table.groupby("group"):
        per_atom = family["energy"] / family["n_atoms"]
        fractions = family.filter(regex=COUNTS).div(family["n_atoms"], axis=0)
        assert np.ptp(per_atom) < 1e-12 * abs(per_atom.mean())
        assert np.ptp(fractions.to_numpy(), axis=0).max() < 1e-12


@pytest.mark.parametrize("kind", ["labels", "supercells"])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_drawn_kinds_have_the_columns_of_a_structure_table(kind: str, n: int) -> None:
    spec = DatasetSpec(description="", kind=kind, seed=9, n_structures=n)
    table = generate.draw(spec, "smoke")
    assert list(table)[:5] == ["structure", "group", "phase", "n_atoms", "energy"]
    assert len(table) == n
    assert table["structure"].is_unique
    assert table.equals(generate.draw(spec, "smoke"))
