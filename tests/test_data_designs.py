"""Designs whose truth is known: cards agree with theory, and what is generated with the cards."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.units import kB
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from pesloss.data import generate, store
from pesloss.data.kinds import alloys_one_state, fragments, silicon_one_state
from pesloss.data.spec import DatasetSpec, kind_module, load_dataset_spec
from pesloss.data.truth import Truth
from pesloss.inference import fit_exponent

FOLDER = Path(__file__).parents[1] / "config" / "datasets"
SPREADS = ("silicon_spread_5", "silicon_spread_10", "silicon_spread_30")
CRYSTALS = ("silicon_crystal", *SPREADS)
KNOWN = (*CRYSTALS, "silicon_liquid", "fragments", "fragments_tau", "alloys_one_state")


def shipped(name: str) -> DatasetSpec:
    return load_dataset_spec(FOLDER / f"{name}.yaml")


def truth_of(name: str) -> Truth:
    truth = shipped(name).truth
    assert truth is not None
    return truth


def sample(name: str, n: int, **recipe: Any) -> list[Atoms]:
    """Structures of a shipped dataset, their number and some of its recipe changed."""
    spec = shipped(name)
    changes = {"n_structures": n, "recipe": {**spec.recipe, **recipe}}
    built, failures = generate.generate_part(spec.model_copy(update=changes), "default")
    assert not failures
    return built


Array = np.ndarray[Any, np.dtype[np.float64]]


def residual(table: pd.DataFrame, scale: Array) -> Array:
    """``(E − Σ n_z μ_z)/scale`` with means by least squares."""
    rows = table.filter(regex="^n_[A-Z]").to_numpy(float) / scale[:, None]
    scaled = table["energy"].to_numpy() / scale
    return np.asarray(scaled - rows @ np.linalg.lstsq(rows, scaled, rcond=None)[0])


def measured(structures: list[Atoms]) -> tuple[float, float]:
    """σ and τ, eV, by maximum likelihood of ``Var(E − Σ n_z μ_z) = σ² N + τ² N²``, and no more."""
    table = store.structure_table(structures)
    n = table["n_atoms"].to_numpy(float)

    def deviance(logs: Array) -> float:
        scale = np.sqrt(np.exp(2 * logs[0]) * n + (np.exp(logs[1]) * n) ** 2)
        return float(np.sum(residual(table, scale) ** 2) + 2 * np.sum(np.log(scale)))

    found = minimize(deviance, np.log([0.05, 0.01]), method="Nelder-Mead")
    sigma, tau = np.exp(found.x)
    return float(sigma), float(tau)


def energies(structures: list[Atoms], n_atoms: int) -> Array:
    """Energies (eV) of one size [families, snapshots]."""
    found = [a.get_potential_energy() for a in structures if len(a) == n_atoms]
    return np.array(found).reshape(-1, 2)


def test_designs_with_a_theory_say_what_it_expects() -> None:
    said = {path.stem for path in FOLDER.glob("*.yaml") if load_dataset_spec(path).truth}
    assert said == set(KNOWN)


@pytest.mark.parametrize("name", CRYSTALS)
def test_cards_of_crystals_hold_the_harmonic_values(name: str) -> None:
    recipe, truth = shipped(name).parsed_recipe(), truth_of(name)
    assert isinstance(recipe, silicon_one_state.Recipe)
    s, thermal = recipe.spread, kB * 600.0
    assert truth.sigma == pytest.approx(np.sqrt(1.5 * (1 + s**2)) * thermal, rel=2e-3)
    assert truth.tau == pytest.approx(1.5 * thermal * s, rel=2e-3)
    assert silicon_one_state.harmonic_scales(recipe) == pytest.approx(
        (truth.sigma, truth.tau), rel=2e-3
    )
    if s:
        assert truth.crossing == pytest.approx(2 / 3 * (1 + s**2) / s**2, rel=5e-3)


def test_the_card_of_alloys_holds_the_harmonic_value() -> None:
    truth = truth_of("alloys_one_state")
    assert truth.sigma == pytest.approx(np.sqrt(1.5 * 31 / 32) * kB * 400.0, rel=2e-3)
    scale = alloys_one_state.harmonic_scale(alloys_one_state.Recipe())
    assert truth.sigma == pytest.approx(scale, rel=2e-3)


def test_deviations_go_from_the_root_to_the_number_of_atoms() -> None:
    truth = Truth(formula="planted", sigma=0.2, tau=0.02, crossing=100.0)
    found = truth.deviation([1, 100, 10**6])
    assert found == pytest.approx([0.2, 2 * np.sqrt(2), 2e4], rel=0.01)


def test_a_truth_changes_no_number() -> None:
    spec = shipped("silicon_crystal")
    assert "truth" not in spec.model_dump()
    assert spec.model_copy(update={"truth": None}).described() == spec.described()


@pytest.fixture(scope="module")
def crystals(nightly: bool) -> list[Atoms]:
    """One temperature; by day the two smallest sizes."""
    if nightly:
        return sample("silicon_crystal", 1000)
    return sample("silicon_crystal", 160, n_atoms=[8, 64])


def sizes_of(structures: list[Atoms]) -> list[int]:
    return sorted({len(atoms) for atoms in structures})


def test_energies_of_one_temperature_vary_by_its_heat_capacity(
    crystals: list[Atoms], nightly: bool
) -> None:
    """``Var(E) = k_B T² C_V`` with ``C_V`` from the mean energies at 480 and 720 K."""
    n_atoms, n = (64, 1000) if nightly else (8, 300)
    few: dict[str, Any] = {"n_atoms": [n_atoms]}
    hot, cold = (
        energies(sample("silicon_crystal", n, temperature=t, **few), n_atoms)
        for t in (720.0, 480.0)
    )
    even = energies(crystals, n_atoms)
    rise = hot.mean() - cold.mean()
    error = np.sqrt(2 / even.size) + np.sqrt(2 * even.var() / n) / rise
    assert even.var(ddof=1) == pytest.approx(kB * 600.0**2 * rise / 240.0, rel=2 * error)


def test_crystals_of_one_temperature_deviate_as_the_root_of_their_size(
    crystals: list[Atoms],
) -> None:
    """The centre of mass rests: N − 1 atoms are free."""
    found = {size: energies(crystals, size) for size in sizes_of(crystals)}
    free = np.concatenate([np.full(e.size, size - 1) for size, e in found.items()])
    square = np.concatenate([(e - e.mean()).ravel() ** 2 for e in found.values()])
    error = np.sqrt(2 / len(free)) / 2 / np.log(free).std()
    assert fit_exponent(free, square) == pytest.approx(0.5, abs=2.6 * error)
    sigma = truth_of("silicon_crystal").sigma
    for size, e in found.items():
        scale = sigma * np.sqrt(size - 1)
        assert e.std(ddof=1) == pytest.approx(scale, rel=3 / np.sqrt(2 * e.size))


def test_snapshots_of_a_trajectory_are_as_independent_as_trajectories(
    crystals: list[Atoms],
) -> None:
    for n_atoms in sizes_of(crystals):
        first, second = energies(crystals, n_atoms).T
        assert abs(np.corrcoef(first, second)[0, 1]) < 2.6 / np.sqrt(len(first))


def by_pairs(structures: list[Atoms]) -> tuple[float, float]:
    """σ² and τ², eV², from two snapshots at one temperature: how they differ, what they share."""
    found = {size: energies(structures, size) for size in sizes_of(structures)}
    own = np.concatenate([np.diff(e).ravel() ** 2 / (2 * (n - 1)) for n, e in found.items()])
    shared = [np.cov(e.T)[0, 1] / (n - 1) ** 2 for n, e in found.items()]
    return float(own.mean()), float(np.mean(shared[-2:]))


def test_the_crossing_is_where_thermodynamics_puts_it(nightly: bool) -> None:
    """Within a factor 1.5; at 5 and 10 % it lies among larger cells, and is tried by night."""
    few: dict[str, Any] = {} if nightly else {"n_atoms": [8]}
    for name in SPREADS if nightly else SPREADS[-1:]:
        own, shared = by_pairs(sample(name, 1500 if nightly else 500, **few))
        truth = truth_of(name)
        assert truth.crossing is not None
        assert abs(np.log(own / shared / truth.crossing)) < np.log(1.5)


def test_liquids_of_one_temperature_vary_by_their_heat_capacity(nightly: bool) -> None:
    n = 800 if nightly else 60
    few: dict[str, Any] = {"n_atoms": [32]}
    hot, even, cold = (
        energies(sample("silicon_liquid", n, temperature=t, **few), 32)
        for t in (2750.0, 2500.0, 2250.0)
    )
    expected = kB * 2500.0**2 * (hot.mean() - cold.mean()) / 500.0 / 32
    error = np.sqrt(2 / n) + np.sqrt(2 * even.var() / n) / (hot.mean() - cold.mean())
    assert even.var(ddof=1) / 32 == pytest.approx(expected, rel=2 * error)
    truth = truth_of("silicon_liquid")
    assert even.std(ddof=1) / np.sqrt(32) == pytest.approx(truth.sigma, rel=3 / np.sqrt(2 * n))


@pytest.fixture(scope="module")
def clusters() -> list[Atoms]:
    return sample("fragments", 130)


def test_energies_of_fragments_add_up(clusters: list[Atoms]) -> None:
    calculator = kind_module("xtb_clusters").TBLite(method="GFN2-xTB", verbosity=0)
    whole = next(atoms for atoms in clusters if 5 < len(atoms) < 12)
    trial = whole.copy()
    trial.calc = calculator
    assert whole.get_potential_energy() == pytest.approx(trial.get_potential_energy(), abs=0.01)
    np.testing.assert_allclose(whole.get_forces(), trial.get_forces(), atol=0.02)


def test_fragments_are_farther_apart_than_models_see(clusters: list[Atoms]) -> None:
    largest = max(clusters, key=len)
    distance = cdist(largest.positions, largest.positions)
    bonded = distance < 4.0  # within a molecule
    assert distance[~bonded].min() >= 10.0
    assert len(np.unique(bonded, axis=0)) > 60


def test_forces_of_fragments_are_those_of_training_sets(clusters: list[Atoms]) -> None:
    force = np.concatenate([atoms.get_forces() for atoms in clusters])
    assert 0.5 < np.sqrt(np.mean(force**2)) < 3.0


@pytest.mark.parametrize("name", ["fragments", "fragments_tau"])
def test_cards_of_fragments_hold_their_own_moments(name: str, nightly: bool) -> None:
    recipe, truth = shipped(name).parsed_recipe(), truth_of(name)
    assert isinstance(recipe, fragments.Recipe)
    n = 8000 if nightly else 400
    moments = fragments.moments(recipe, n, np.random.default_rng(5))
    sigma, tau = fragments.scales(recipe, moments)
    assert sigma == pytest.approx(truth.sigma, rel=0.02 if nightly else 0.06)
    assert tau == pytest.approx(truth.tau, rel=0.04 if nightly else 0.1)


@pytest.mark.parametrize(("name", "kurtosis"), [("fragments", 5.0), ("fragments_tau", 9.0)])
def test_structures_vary_as_the_moments_of_fragments_say(
    name: str, kurtosis: float, nightly: bool
) -> None:
    """In the smaller half of the structures and in the larger; a few stiff bonds make tails."""
    truth, n = truth_of(name), 4000 if nightly else 900
    few: dict[str, Any] = {} if nightly else {"max_molecules": 32}
    structures = sample(name, n, **few)
    table = store.structure_table(structures)
    ratio = (residual(table, truth.deviation(table["n_atoms"]))) ** 2
    large = (table["n_atoms"] > table["n_atoms"].median()).to_numpy()
    for half in (ratio[large], ratio[~large]):
        assert half.mean() == pytest.approx(1.0, abs=3 * np.sqrt((kurtosis - 1) / half.size))
    if truth.crossing and nightly:
        sigma, tau = measured(structures)
        assert abs(np.log((sigma / tau) ** 2 / truth.crossing)) < np.log(1.5)


def test_pure_metals_vary_alike_whatever_they_are(nightly: bool) -> None:
    n = 600 if nightly else 60
    structures = sample("alloys_one_state", n, grid=1)
    truth = truth_of("alloys_one_state")
    for metal in ("Cu", "Pd", "Au"):
        energy = [a.get_potential_energy() for a in structures if set(a.symbols) == {metal}]
        error = 3 / np.sqrt(2 * len(energy))
        assert np.std(energy, ddof=1) / np.sqrt(32) == pytest.approx(truth.sigma, rel=error)


def test_every_composition_of_the_grid_is_as_frequent() -> None:
    spec = shipped("alloys_one_state")
    plan = generate.plan(spec, "default")
    counts: dict[Any, int] = {}
    for family in plan:
        composition = family.what["composition"]
        counts[composition] = counts.get(composition, 0) + 1
    assert len(counts) == 15
    assert set(counts.values()) == {40}
    assert {sum(composition) for composition in counts} == {32}


def test_small_crystals_are_as_many_as_large_glasses_of_their_own_quenches() -> None:
    plan = generate.plan(shipped("crystals_and_glasses"), "default")
    glasses = [family for family in plan if family.phase == "amorphous"]
    crystals = [family for family in plan if family.phase != "amorphous"]
    assert sum(f.n_structures for f in glasses) == sum(f.n_structures for f in crystals) == 300
    assert len(glasses) == 150
    assert {f.what["n_atoms"] for f in glasses} == {64, 96, 144, 216}
    assert {f.what["n_atoms"] for f in crystals} == {2, 4, 8}
