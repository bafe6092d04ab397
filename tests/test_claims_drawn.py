"""Controls on drawn energies: formula of the variance, refusals, and groups by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import failure
from numpy.typing import NDArray

from pesloss.claims import measures as statistics
from pesloss.claims.decide import check_controls, decide_ablation
from pesloss.claims.measurement import LabelData, Measurement, Sampling
from pesloss.data.kinds import labels
from pesloss.job.files import write_table
from pesloss.linear import fit, job, summary
from pesloss.linear.features import drawn_features
from pesloss.report.verdicts import verdict_table
from pesloss.spec.config import Ablation
from pesloss.statistics.fit import fit_statistics
from pesloss.statistics.labels import label_table

SPREADS = {
    "H": labels.Spread(mu=-12.0, sigma=0.1),
    "C": labels.Spread(mu=-50.0, sigma=0.5),
    "O": labels.Spread(mu=-105.0, sigma=1.3),
}
NO_FORCES = pd.DataFrame(columns=["structure", "species", "mean_square"])
EXPONENT = {"claim": "C2", "statistic": "label_exponent", "expected": 0.5, "margin": 0.1}


def data(folder: Path, recipe: labels.Recipe, n: int = 2000, seed: int = 0) -> LabelData:
    """Labels of a drawn dataset called made, with its structure table where the stages put it."""
    table = labels.draw(recipe, n, np.random.default_rng(seed))
    splits = table[["structure"]].assign(split=np.repeat(["train", "test"], n // 2))
    fitted = fit_statistics("made", table, splits)
    write_table(folder / "data/made/structures.csv", table)
    return LabelData("made", label_table(table, splits, fitted), NO_FORCES, fitted, folder)


def measured(found: LabelData, name: str, level: float = 0.999, **options: str) -> list[Any]:
    sampling = Sampling(np.random.default_rng(1), 300, level)
    return list(statistics.load(name).measure(found, options, sampling))


def asked(*claims: dict[str, Any]) -> Ablation:
    return Ablation.model_validate({"question": "", "datasets": ("made",), "claims": claims})


def deviation(recipe: labels.Recipe, table: pd.DataFrame) -> NDArray[np.float64]:
    counts = np.stack([table[f"n_{symbol}"].to_numpy(float) for symbol in recipe.species], axis=1)
    mu = [spread.mu for spread in recipe.species.values()]
    return np.asarray(table.energy - counts @ np.array(mu), dtype=np.float64)


@pytest.mark.parametrize("key", ["kappa", "correlations", "shuffle_sizes", "shuffle_compositions"])
def test_variance_column_is_the_variance_of_the_energies(key: str) -> None:
    value = {"kappa": 2.0, "correlations": (0.0, 0.3, 1.0)}.get(key, True)
    recipe = labels.Recipe.model_validate({"species": SPREADS, "max_atoms": 40, key: value})
    table = labels.draw(recipe, 20_000, np.random.default_rng(2))
    ratio = deviation(recipe, table) ** 2 / table.energy_variance
    for by in ("phase", pd.cut(np.log(table.n_atoms), 4)):
        groups = ratio.groupby(table[by] if isinstance(by, str) else by, observed=True)
        assert (np.abs(groups.mean() - 1) < 4.5 * groups.sem()).all()


def test_correlation_turns_a_share_of_sigma_into_tau() -> None:
    recipe = labels.Recipe(species=SPREADS, correlations=(0.25,))
    table = labels.draw(recipe, 50, np.random.default_rng(0))
    counts = table[["n_H", "n_C", "n_O"]].to_numpy(float)
    sigma = np.array([0.1, 0.5, 1.3])
    expected = 0.75 * counts @ sigma**2 + 0.25 * (counts @ sigma) ** 2
    np.testing.assert_allclose(table.energy_variance, expected, rtol=1e-12)
    assert set(table.phase) == {"correlation 0.25"}


def test_shuffled_compositions_keep_what_size_explains() -> None:
    recipe = labels.Recipe(species=SPREADS, max_atoms=12, shuffle_compositions=True)
    plain = recipe.model_copy(update={"shuffle_compositions": False})
    drawn = [labels.draw(r, 900, np.random.default_rng(3)) for r in (recipe, plain)]
    shuffled, before = (t.assign(deviation=deviation(recipe, t)) for t in drawn)
    assert (shuffled.n_atoms == before.n_atoms).all()
    assert (shuffled.deviation != before.deviation).mean() > 0.9
    for size, part in shuffled.groupby("n_atoms"):
        twin = np.sort(before.deviation[before.n_atoms == size])
        np.testing.assert_allclose(np.sort(part.deviation), twin, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"correlations": [0.5], "species": {"H": {"tau": 0.1}}}, "species without tau"),
        ({"correlations": [0.5], "shuffle_sizes": True}, "at a time"),
        ({"correlations": [1.5]}, "less than or equal to 1"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        labels.Recipe.model_validate(changes)


def test_formula_is_met_by_what_it_describes_and_not_by_other_energies(tmp_path: Path) -> None:
    recipe = labels.Recipe(species=SPREADS, max_atoms=64, correlations=(0.0, 0.5))
    found = data(tmp_path, recipe, 6000)
    for of, by in (("variance", "phase"), ("variance", "size_group"), ("exponent", "phase")):
        expected = 1.0 if of == "variance" else 0.0
        rows = measured(found, "variance_against_formula", of=of, by=by)
        assert len(rows) == (2 if by == "phase" else 4)
        assert all(row.low < expected < row.high for row in rows), (of, by, rows)
    path = tmp_path / "data/made/structures.csv"
    table = pd.read_csv(path)
    write_table(path, table.assign(energy_variance=table.energy_variance * table.n_atoms / 10))
    wrong = measured(found, "variance_against_formula", of="exponent", by="phase")
    assert all(abs(row.estimate + 0.5) < 0.15 and row.high < -0.2 for row in wrong)


def test_permuted_compositions_explain_nothing_and_true_ones_do(tmp_path: Path) -> None:
    recipe = labels.Recipe(
        species=SPREADS, max_atoms=32, proportions="random", shuffle_compositions=True
    )
    found = data(tmp_path, recipe, 6000)
    (recorded,) = measured(found, "label_composition_ratio", metric="mse")
    assert recorded.low < 0 < recorded.high
    rows = measured(found, "label_moment", moment="variance", by="phase")
    true = {row.group: row for row in rows}
    assert true["most O"].low > 1.2
    assert true["most H"].high < 0.8


def test_a_control_may_ask_for_a_refusal(tmp_path: Path) -> None:
    claim = {**EXPONENT, "must_be": "not_measurable"}
    one_size = data(tmp_path, labels.Recipe(min_atoms=8, max_atoms=8), 400)
    rows, left_out = decide_ablation("one_size", asked(claim), {"made": one_size}, [], 100)
    assert list(rows.verdict) == ["not_measurable"]
    assert rows[["estimate", "ci_low", "ci_high"]].isna().all(axis=None)
    assert left_out.empty
    assert len(check_controls(rows)) == 1
    assert "– not measurable" in verdict_table(rows)
    many_sizes = data(tmp_path, labels.Recipe(), 400)
    rows, _ = decide_ablation("sizes", asked(claim), {"made": many_sizes}, [], 100)
    assert "allowed: not_measurable" in failure(lambda: check_controls(rows))


def test_claims_may_be_about_some_groups_only(tmp_path: Path) -> None:
    recipe = labels.Recipe(species=SPREADS, max_atoms=64, correlations=(0.0, 0.5, 1.0))
    found = {"made": data(tmp_path, recipe, 9000)}
    by_phase = {**EXPONENT, "options": {"by": "phase"}}
    one = asked(
        {**by_phase, "groups": ["correlation 0"]}, {**by_phase, "groups": ["correlation 1"]}
    )
    rows, _ = decide_ablation("a", one, found, [], 200)
    assert list(rows.group) == ["correlation 0", "correlation 1"]
    assert list(rows.verdict) == ["supported", "contradicted"]
    none = asked({**by_phase, "groups": ["correlation 2"]})
    rows, left_out = decide_ablation("a", none, found, [], 100)
    assert rows.empty
    assert list(left_out.reason) == ["no group 'correlation 2'"]
    control = asked({**by_phase, "groups": ["correlation 2"], "must_be": "supported"})
    message = failure(lambda: decide_ablation("a", control, found, [], 100))
    assert "no group 'correlation 2'" in message


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> LabelData:
    """Labels whose best exponent is 1, with the tables of the exact arm."""
    folder = tmp_path_factory.mktemp("linear")
    alike = {symbol: labels.Spread(mu=spread.mu, sigma=0.6) for symbol, spread in SPREADS.items()}
    found = data(folder, labels.Recipe(species=alike, proportions="random"), 500)
    table = pd.read_csv(folder / "data/made/structures.csv")
    features = drawn_features(
        table.structure.to_numpy(str), table.n_atoms.to_numpy(float), 2, np.random.default_rng(0)
    )
    paths = {name: str(folder / "made" / f"{name}.x") for name in ("features", "statistics")}
    features.write(paths["features"])
    found.statistics.write(paths["statistics"])
    paths["table"] = str(folder / "data/made/structures.csv")
    job.fit_dataset(str(folder / "linear/made.csv"), paths, 30, 0, lambda replicates: replicates)
    job.write_efficiency(str(folder / "linear/made.efficiency.csv"), paths, 300, 0)
    return found


def test_statistics_of_linear_fits_find_what_was_planted(linear: LabelData) -> None:
    (best,) = measured(linear, "best_exponent", against="nothing")
    (difference,) = measured(linear, "best_exponent")
    (error,) = measured(linear, "best_exponent_error")
    assert best.low < 1 < best.high < 2
    assert difference.low < 0 < difference.high
    assert error.low < 0 < error.high
    for loss, at_least in (("raw", 1.1), ("per_atom", 1.1), ("sqrt_n", 0.9)):
        (row,) = measured(linear, "wrong_exponent_loss", loss=loss)
        assert isinstance(row, Measurement)
        assert row.loss == loss
        assert row.estimate > at_least
        assert row.low < row.estimate < row.high
    ablation = asked({**EXPONENT, "claim": "C7", "statistic": "best_exponent", "expected": 0})
    rows, _ = decide_ablation("a", ablation, {"made": linear}, [], 10)
    assert list(rows.subject) == ["linear model"]
    assert "On linear models" in verdict_table(rows)


def test_tables_of_all_datasets_have_a_row_each_and_may_be_empty(linear: LabelData) -> None:
    path = str(linear.results / "linear/made.csv")
    rows = job.summarize_all([path])
    assert list(rows.dataset) == ["made"]
    assert list(rows.columns) == summary.TABLE
    known = job.join_efficiencies([str(linear.results / "linear/made.efficiency.csv")])
    assert set(known.dataset) == {"made"}
    assert list(job.summarize_all([]).columns) == summary.TABLE
    assert list(job.join_efficiencies([]).columns) == list(known.columns)
    assert set(fit.COLUMNS) == set(pd.read_csv(path).columns)
