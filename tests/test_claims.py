"""Statistics of claims on data whose truth is known."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Tiny, add_table, write_record
from numpy.typing import NDArray

from pesloss.claims import measures as statistics
from pesloss.claims.collect import collect_claims
from pesloss.claims.decide import COLUMNS, LEFT_OUT_COLUMNS, check_controls, decide_ablation
from pesloss.claims.job import decide_from_files
from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.runs import Comparison, Study, comparisons
from pesloss.evaluation.results import RunResult
from pesloss.evaluation.score import score
from pesloss.job.errors import PeslossError
from pesloss.job.files import write_table
from pesloss.spec.config import Ablation
from pesloss.spec.run import Run
from pesloss.statistics.dataset import DatasetStatistics

Array = NDArray[np.float64]
LEVEL = 0.95


def sampling(seed: int = 0, n_resamples: int = 300) -> Sampling:
    return Sampling(np.random.default_rng(seed), n_resamples, LEVEL)


def measure(name: str, data: Any, **options: str) -> list[Measurement]:
    return list(statistics.load(name, "test", options).measure(data, options, sampling()))


def near(found: Measurement, truth: float, n_se: float = 4) -> bool:
    """The truth lies within some standard errors, and they are small enough to tell."""
    error = (found.high - found.low) / (2 * 1.96)
    return abs(found.estimate - truth) < n_se * error < 0.5 * max(1.0, abs(truth))


def sizes_of(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    return np.round(2 ** rng.uniform(1, 8, n)).astype(np.int64)


def structures(rng: np.random.Generator, n: int = 1500) -> pd.DataFrame:
    """Structures with sizes and groups; energies of exponent ½ and unit scale."""
    size = sizes_of(rng, n)
    noise = rng.normal(size=n)
    names = [f"s{i:04}" for i in range(n)]
    return pd.DataFrame(
        {
            "structure": names,
            "group": names,
            "phase": rng.choice(["crystal", "liquid"], n),
            "split": rng.choice(["train", "validation", "test"], n),
            "n_atoms": size,
            "size_group": np.where(size < 23, "2–22", "23–256"),
            "composition_group": rng.choice(["Al", "Cu"], n),
            "energy_deviation": np.sqrt(size) * noise,
            "energy_scale": np.sqrt(size),
            "standardized_energy": noise,
        }
    )


NO_FORCES = pd.DataFrame(columns=["structure", "species", "n_components", "mean_square", "n_tail"])


@pytest.fixture
def made(tiny: Tiny) -> Callable[..., LabelData]:
    def make(seed: int = 0, n: int = 1500, power: float = 0.5, **columns: Any) -> LabelData:
        table = structures(np.random.default_rng(seed), n)
        table["energy_deviation"] = table.n_atoms**power * table.standardized_energy
        return LabelData("made", table.assign(**columns), NO_FORCES, tiny.statistics)

    return make


Made = Callable[..., LabelData]


@pytest.mark.parametrize("estimator", ["gamma", "line"])
@pytest.mark.parametrize("power", [0, 0.5, 1])
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_exponents_are_found(made: Made, power: float, estimator: str, seed: int) -> None:
    (found,) = measure("label_exponent", made(seed, power=power), estimator=estimator)
    assert near(found, power)
    assert found.high - found.low < 0.2


def test_shuffled_sizes_have_no_exponent(made: Made) -> None:
    data = made(power=1.0)
    data.labels["n_atoms"] = data.labels.n_atoms.sample(frac=1, random_state=0).to_numpy()
    (found,) = measure("label_exponent", data)
    assert near(found, 0)


def test_the_exponent_does_not_depend_on_the_unit(made: Made) -> None:
    data = made()
    (here,) = measure("label_exponent", data)
    data.labels["energy_deviation"] *= 23.06
    (there,) = measure("label_exponent", data)
    assert there.estimate == pytest.approx(here.estimate, abs=1e-9)
    assert there.high == pytest.approx(here.high, abs=1e-6)


def test_phases_apart_have_the_exponent_that_their_mixture_hides(made: Made) -> None:
    data = made()
    shift = np.where(data.labels.phase == "liquid", 2.0, -2.0)
    data.labels["energy_deviation"] += shift * data.labels.n_atoms
    (mixed,) = measure("label_exponent", data)
    assert mixed.low > 0.7
    apart = measure("label_exponent", data, by="phase")
    assert [found.group for found in apart] == ["crystal", "liquid"]
    assert all(near(found, 0.5) for found in apart)


def test_a_single_size_has_no_exponent(made: Made) -> None:
    for name in ("label_exponent", "label_metric_slope"):
        with pytest.raises(NotMeasurable, match="all structures have 8 atoms"):
            measure(name, made(n_atoms=8))


def test_a_single_family_has_no_interval(made: Made) -> None:
    (found,) = measure("label_exponent", made(group="one"))
    assert isinstance(found, NotMeasurable)


def test_families_widen_the_interval(made: Made) -> None:
    data = made()
    (alone,) = measure("label_exponent", data)
    twins = pd.concat([data.labels] * 4, ignore_index=True)
    (found,) = measure("label_exponent", LabelData("made", twins, NO_FORCES, data.statistics))
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.2)


@pytest.mark.parametrize(("moment", "truth"), [("mean", 0), ("variance", 1), ("tail", 0.01)])
def test_moments_of_a_normal_variable(made: Made, moment: str, truth: float) -> None:
    for by in ("", "size_group", "phase"):
        for found in measure("label_moment", made(2), moment=moment, by=by):
            assert near(found, truth)


def test_moments_follow_the_labels(made: Made) -> None:
    noise = np.random.default_rng(5).normal(size=1500)
    (mean,) = measure("label_moment", made(standardized_energy=3 + noise), moment="mean")
    (variance,) = measure("label_moment", made(standardized_energy=2 * noise))
    assert near(mean, 3)
    assert near(variance, 4)


@pytest.mark.parametrize("metric", ["mse", "mae", "huber"])
def test_standardized_metrics_have_no_slope(made: Made, metric: str) -> None:
    (found,) = measure("label_metric_slope", made(3), metric=metric)
    assert near(found, 0)


@pytest.mark.parametrize(("metric", "slope"), [("mse", 1.0), ("mae", 0.5)])
def test_metrics_of_a_growing_error_have_its_slope(made: Made, metric: str, slope: float) -> None:
    data = made(3)
    data.labels["standardized_energy"] *= np.sqrt(data.labels.n_atoms)
    (found,) = measure("label_metric_slope", data, metric=metric)
    assert near(found, slope)


def test_a_ratio_of_compositions_is_found_and_none_is_made_up(made: Made) -> None:
    data = made(4)
    (none,) = measure("label_composition_ratio", data)
    assert near(none, 0)
    data.labels.loc[data.labels.composition_group == "Cu", "standardized_energy"] *= 2
    (found,) = measure("label_composition_ratio", data)
    assert near(found, np.log(4))
    assert found.group == "Cu against Al"


def test_one_composition_has_no_ratio(made: Made) -> None:
    with pytest.raises(NotMeasurable, match="fewer than two values of composition_group"):
        measure("label_composition_ratio", made(composition_group="Al"))


@pytest.fixture
def forced(made: Made) -> LabelData:
    """Forces with variance 1 (Al) and 4 (Cu) in standardised units."""
    data, rng, rows = made(6), np.random.default_rng(6), []
    for name, n in zip(data.labels.structure, data.labels.n_atoms, strict=True):
        for species, spread in (("Al", 1.0), ("Cu", 2.0)):
            x = spread * rng.normal(size=3 * int(n))
            rows.append((name, species, len(x), np.mean(x**2), int(np.sum(np.abs(x) > 2.5758))))
    return LabelData(
        "made", data.labels, pd.DataFrame(rows, columns=NO_FORCES.columns), data.statistics
    )


def test_force_moments_are_those_of_the_species(forced: LabelData) -> None:
    one, other = measure("force_moment", forced)
    assert (one.group, other.group) == ("Al", "Cu")
    assert near(one, 1)
    assert near(other, 4)
    assert near(measure("force_moment", forced, moment="tail")[0], 0.01)


def test_forces_that_do_not_know_the_size_have_exponent_zero(forced: LabelData) -> None:
    (found,) = measure("force_exponent", forced)
    assert near(found, 0)
    size = forced.force_labels.structure.map(forced.labels.set_index("structure").n_atoms)
    forced.force_labels["mean_square"] *= size
    (grown,) = measure("force_exponent", forced)
    assert near(grown, 0.5)


def test_labels_without_forces_have_no_force_statistics(made: Made) -> None:
    for name in ("force_moment", "force_exponent"):
        with pytest.raises(NotMeasurable, match="made: no forces"):
            measure(name, made())


Errors = Callable[[Run, pd.DataFrame], Array]
HASHES = (
    "data", "split", "statistics", "model", "training", "device", "initial_weights", "batches"
)  # fmt: skip


class Shelf:
    """Writes finished runs with errors of one's choice."""

    def __init__(self, folder: Path, statistics: DatasetStatistics, n: int = 1800) -> None:
        self.folder, self.statistics = folder, statistics
        self.labels = structures(np.random.default_rng(11), n)
        self.labels["split"] = np.resize(["test", "validation", "train"], n)
        self.results: list[RunResult] = []

    def add(self, run: Run, errors: Errors, hashes: Mapping[str, str] | None = None) -> None:
        folder = self.folder / run.folder
        same = dict.fromkeys(HASHES[-2:], f"{run.seed}") | dict.fromkeys(HASHES[:-2], "same")
        record = {
            "run": str(run.folder),
            **run.columns,
            "hashes": {**same, **(hashes or {})},
            "model_settings": {"n_features": 32, **dict(run.changes)},
            "training_settings": {"n_steps": 9, "learning_rate": 0.1, **dict(run.changes)},
            "final": {},
        }
        held_out = self.labels[self.labels.split != "train"]
        table = held_out.assign(energy_error=errors(run, held_out), force_mse=1.0)
        write_record(folder, record, table)
        self.results.append(RunResult(run, folder))

    def grid(self, errors: Errors, losses: tuple[str, ...], **options: Any) -> "Comparison":
        for loss in losses:
            for weight in options.get("weights", (1.0,)):
                for seed in range(3):
                    self.add(Run("made", "schnet", loss, force_weight=weight, seed=seed), errors)
        return self.compared()[0]

    def compared(self, tuned: tuple[str, ...] = ()) -> list[Comparison]:
        return list(comparisons(self.results, self.labels, self.statistics, tuned))


@pytest.fixture
def shelf(tmp_path: Path, tiny: Tiny) -> Shelf:
    return Shelf(tmp_path, tiny.statistics)


def noise(run: Run, table: pd.DataFrame) -> Array:
    """The same for every loss and weight: only the seed decides."""
    return np.random.default_rng([run.seed, 5]).normal(size=len(table))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_error_exponents_are_found(shelf: Shelf, power: float) -> None:
    data = shelf.grid(lambda run, t: t.n_atoms.to_numpy() ** power * noise(run, t), ("raw",))
    (found,) = measure("error_exponent", data)
    assert near(found, power)
    assert (found.loss, found.force_weight, found.n_seeds) == ("raw", 1.0, 3)
    (slope,) = measure("error_metric_slope", data, metric="mse")
    assert near(slope, 2 * power - 1)
    (forces,) = measure("error_exponent", data, of="forces")
    assert forces.estimate == pytest.approx(0, abs=1e-9)


def test_identical_losses_trade_nothing(shelf: Shelf) -> None:
    data = shelf.grid(noise, ("raw", "standardized"), weights=(0.1, 1.0))
    (found,) = measure("size_tradeoff", data)
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(("which", "sign"), [("2–22", 1), ("23–256", -1)])
def test_twice_the_errors_of_one_size_is_a_shift_of_log_two(
    shelf: Shelf, which: str, sign: int
) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        factor = np.where((table.size_group == which) & (run.energy_loss == "raw"), 2.0, 1.0)
        return factor * noise(run, table)

    (found,) = measure("size_tradeoff", shelf.grid(errors, ("raw", "standardized")))
    assert found.estimate == pytest.approx(sign * np.log(2))
    assert found.low == pytest.approx(found.high)
    assert found.group == "2–22 against 23–256 atoms"


def test_what_a_loss_does_to_all_sizes_alike_cancels(shelf: Shelf) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        return (5.0 if run.energy_loss == "raw" else 1.0) * noise(run, table)

    (found,) = measure("size_tradeoff", shelf.grid(errors, ("raw", "standardized")))
    assert found.estimate == pytest.approx(0, abs=1e-12)


def test_a_tradeoff_needs_its_reference_and_two_sizes(shelf: Shelf) -> None:
    data = shelf.grid(noise, ("raw",))
    with pytest.raises(NotMeasurable, match="no run of loss standardized"):
        measure("size_tradeoff", data)
    shelf.results.clear()
    shelf.labels["size_group"] = "2–256"
    with pytest.raises(NotMeasurable, match="one size group"):
        measure("size_tradeoff", shelf.grid(noise, ("raw", "standardized")))


@pytest.mark.parametrize(("which", "other"), [("Al", "Cu"), ("Cu", "Al")])
def test_twice_the_errors_of_one_composition_is_a_shift_of_log_two(
    shelf: Shelf, which: str, other: str
) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        twice = (table.composition_group == which) & (run.energy_loss == "raw")
        return np.where(twice, 2.0, 1.0) * noise(run, table)

    (found,) = measure("composition_tradeoff", shelf.grid(errors, ("raw", "standardized")))
    assert found.estimate == pytest.approx(np.log(2))
    assert found.low == pytest.approx(found.high)
    assert (found.loss, found.group) == ("raw", f"{which} against {other}")


def test_compositions_that_are_served_alike_show_no_shift(shelf: Shelf) -> None:
    """Groups are chosen on other structures, so that chance does not look like a shift."""

    def errors(run: Run, table: pd.DataFrame) -> Array:
        own = np.random.default_rng([run.seed, len(run.energy_loss)]).normal(size=len(table))
        return 3.0 * own if run.energy_loss == "raw" else own

    (found,) = measure("composition_tradeoff", shelf.grid(errors, ("raw", "standardized")))
    assert found.low < 0 < found.high


def test_a_composition_tradeoff_needs_its_reference_and_two_groups(shelf: Shelf) -> None:
    with pytest.raises(NotMeasurable, match="no run of loss standardized"):
        measure("composition_tradeoff", shelf.grid(noise, ("raw",)))
    shelf.results.clear()
    shelf.labels["composition_group"] = "Al"
    with pytest.raises(NotMeasurable, match="fewer than two values of composition_group"):
        measure("composition_tradeoff", shelf.grid(noise, ("raw", "standardized")))


def test_error_exponents_within_phases_are_their_own(shelf: Shelf) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        power = np.where(table.phase == "crystal", 0.0, 1.0)
        grown: Array = table.n_atoms.to_numpy() ** power * noise(run, table)
        return grown

    found = measure("error_exponent", shelf.grid(errors, ("raw",)), by="phase")
    assert [item.group for item in found] == ["crystal", "liquid"]
    assert near(found[0], 0.0)
    assert near(found[1], 1.0)


def test_the_best_weight_is_that_of_the_validation_split(shelf: Shelf) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        best = {"raw": 10.0, "per_atom": 0.1}[run.energy_loss]
        validated = (table.split == "validation").to_numpy()
        good = (run.force_weight == best) == validated  # the worst of all on test structures
        return np.where(good, 0.1, 1.0) * noise(run, table)

    data = shelf.grid(errors, ("raw", "per_atom"), weights=(0.1, 1.0, 10.0))
    assert data.best_weight("raw") == 10.0
    assert data.best_weight("per_atom") == 0.1
    assert {found.loss: found.force_weight for found in measure("error_exponent", data)} == {
        "raw": 10.0,
        "per_atom": 0.1,
    }


def test_the_score_leans_to_no_normalisation() -> None:
    rng = np.random.default_rng(0)
    n = sizes_of(rng, 200)
    errors = pd.DataFrame(
        {"n_atoms": n, "energy_error": rng.normal(size=200), "force_mse": rng.uniform(1, 2, 200)}
    )
    square = errors.energy_error**2
    terms = [0.5 * np.log(np.mean(square / n**p)) for p in (0, 1, 2)]
    force = 0.5 * np.log(np.sum(errors.force_mse * n) / n.sum())
    assert score(errors) == pytest.approx((np.mean(terms) + force) / 2)
    for column, power in (("energy_error", 1), ("force_mse", 2)):
        better = errors.assign(**{column: errors[column] / 10**power})
        assert score(errors) - score(better) == pytest.approx(np.log(10) / 2)
    kcal = errors.assign(energy_error=23 * errors.energy_error, force_mse=23**2 * errors.force_mse)
    assert score(kcal) - score(errors) == pytest.approx(np.log(23))


@pytest.mark.parametrize("key", HASHES)
def test_runs_that_differ_in_more_than_the_loss_are_not_compared(shelf: Shelf, key: str) -> None:
    shelf.add(Run("made", "schnet", "raw"), noise)
    shelf.add(Run("made", "schnet", "per_atom"), noise, {key: "other"})
    with pytest.raises(PeslossError, match=f"hash of {key} is .* allowed: "):
        shelf.compared()


def test_seeds_may_differ_in_weights_and_batches_alone(shelf: Shelf) -> None:
    shelf.grid(noise, ("raw",))
    shelf.add(Run("made", "schnet", "raw", seed=7), noise, {"split": "other"})
    with pytest.raises(PeslossError, match="hash of split"):
        shelf.compared()


def test_losses_with_other_seeds_are_not_compared(shelf: Shelf) -> None:
    shelf.add(Run("made", "schnet", "raw", seed=0), noise)
    shelf.add(Run("made", "schnet", "per_atom", seed=1), noise)
    with pytest.raises(PeslossError, match=r"seeds of raw at weight 1 are \[0\]; allowed: \[1\]"):
        shelf.compared()


def test_runs_of_other_models_and_metrics_are_kept_apart(shelf: Shelf) -> None:
    for run in (
        Run("made", "schnet", "raw"),
        Run("made", "painn", "raw"),
        Run("made", "schnet", "raw", metric="mae"),
        Run("made", "schnet", "raw", force_loss="standardized"),
        Run("made", "schnet", "raw", changes=(("cutoff", 3.0),)),
    ):
        shelf.add(run, noise)
    assert len(shelf.compared()) == 5


def test_a_missing_run_is_named(shelf: Shelf) -> None:
    data = shelf.grid(noise, ("raw",))
    with pytest.raises(NotMeasurable, match="no run of loss sqrt_n at weight 1"):
        data.of("sqrt_n", 1.0)


def test_composition_ratios_of_errors_are_found(shelf: Shelf) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        worse = np.where(table.composition_group == "Cu", 3.0, 1.0)
        scale: Array = worse * table.energy_scale.to_numpy()
        return scale * noise(run, table)

    (found,) = measure("error_composition_ratio", shelf.grid(errors, ("raw",)))
    assert near(found, np.log(9))
    assert found.group == "Cu against Al"


def signals(shelf: Shelf, power: float) -> Comparison:
    """Runs whose loss terms and gradient norms are exact powers of the size."""
    data = shelf.grid(noise, ("raw",))
    trained = shelf.labels[shelf.labels.split == "train"]
    for result in data.results:
        early = pd.DataFrame({"step": 1, "structure": trained.structure, "energy_term": 1.0})
        late = early.assign(step=9, energy_term=trained.n_atoms**power)
        add_table(result, "loss_signal.csv.gz", pd.concat([early, late]))
        parts = [
            pd.DataFrame(
                {
                    "step": step,
                    "structure": trained.structure,
                    "energy_gradient": height * trained.n_atoms**power,
                    "energy_jacobian": trained.n_atoms ** (power / 2),
                    "force_gradient": 1.0,
                }
            )
            for step, height in ((1, 1.0), (9, 1e-3))
        ]
        noisy = parts[0].assign(step=0, energy_gradient=1.0)
        add_table(result, "gradient_signal.csv", pd.concat([noisy, *parts]))
    return data


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.7])
def test_slopes_of_the_signal_are_those_planted(shelf: Shelf, power: float) -> None:
    data = signals(shelf, power)
    (loss,) = measure("loss_signal_slope", data)
    (gradient,) = measure("gradient_signal_slope", data)
    (jacobian,) = measure("gradient_signal_slope", data, of="energy_jacobian")
    assert loss.estimate == pytest.approx(power, abs=1e-6)
    assert gradient.estimate == pytest.approx(power, abs=1e-6)
    assert jacobian.estimate == pytest.approx(power / 2, abs=1e-6)


def test_balance_of_species_is_the_spread_of_their_relative_errors(shelf: Shelf) -> None:
    data = shelf.grid(noise, ("raw",))
    eta = dict(zip(("Al", "Cu"), shelf.statistics.force_scale, strict=True))
    tested = list(data.tested().structure)

    def written(factor: Mapping[str, float]) -> Measurement:
        rows = [(s, z, (factor[z] * eta[z]) ** 2) for s in tested for z in ("Al", "Cu", "Cu")]
        table = pd.DataFrame(rows, columns=["structure", "species", "force_error_square"])
        for result in data.results:
            add_table(result, "atoms.csv.gz", table)
        return measure("force_species_balance", data)[0]

    assert written({"Al": 0.3, "Cu": 0.3}).estimate == pytest.approx(0, abs=1e-12)
    found = written({"Al": 0.3, "Cu": 0.6})
    assert found.estimate == pytest.approx(np.log(2) / 2)
    assert found.loss == "raw+raw"


def test_every_statistic_says_what_it_is_about_and_refuses_unknown_options() -> None:
    for name in statistics.names():
        module = statistics.load(name)
        assert module.SCOPE in ("labels", "runs", "ablation")
        with pytest.raises(PeslossError, match=f"a.yaml: option of {name} is 'colour'"):
            statistics.load(name, "a.yaml", {"colour": "red"})
        for option in getattr(module, "OPTIONS", {}):
            with pytest.raises(PeslossError, match=f"option {option} of {name} is 'x'; allowed: "):
                statistics.load(name, "a.yaml", {option: "x"})
    with pytest.raises(
        PeslossError, match=r"a\.yaml: statistic is 'slope'; allowed: best_exponent"
    ):
        statistics.load("slope", "a.yaml")


def asked(*claims: dict[str, Any], **more: Any) -> Ablation:
    return Ablation.model_validate(
        {"question": "?", "datasets": ["made"], "claims": list(claims), **more}
    )


EXPONENT = {"claim": "C2", "statistic": "label_exponent", "expected": 0.5, "margin": 0.1}


def test_claims_about_labels_are_decided(made: Made) -> None:
    moment = {"claim": "C1", "statistic": "force_moment", "expected": 1, "margin": 0.1}
    ablation = asked(EXPONENT, {**EXPONENT, "expected": 1.0}, moment)
    rows, left_out = decide_ablation("a", ablation, {"made": made(n=4000)}, [], 300)
    assert list(rows) == COLUMNS
    assert list(rows.verdict) == ["supported", "contradicted"]
    assert (rows.ci_low < rows.estimate).all()
    assert (rows.estimate < rows.ci_high).all()
    assert set(rows.subject) == {"labels"}
    assert list(left_out) == LEFT_OUT_COLUMNS
    assert left_out.reason.tolist() == ["made: no forces"]


def test_too_few_structures_leave_a_claim_undecided(made: Made) -> None:
    rows, _ = decide_ablation("a", asked(EXPONENT), {"made": made(n=60)}, [], 300)
    assert list(rows.verdict) == ["undecided"]


def test_claims_about_errors_are_decided_for_the_losses_they_name(shelf: Shelf) -> None:
    def errors(run: Run, table: pd.DataFrame) -> Array:
        power = {"raw": 0.0, "standardized": 0.5}[run.energy_loss]
        return table.n_atoms.to_numpy() ** power * noise(run, table)

    data = shelf.grid(errors, ("raw", "standardized"))
    claim = {"claim": "C7", "statistic": "error_exponent", "expected": 0.5, "margin": 0.3}
    runs = {"energy_losses": ["raw", "standardized"]}
    rows, _ = decide_ablation("a", asked(claim, runs=runs), {}, [data], 200)
    assert dict(zip(rows.loss, rows.verdict, strict=True)) == {
        "raw": "contradicted",
        "standardized": "supported",
    }
    assert set(rows.n_seeds) == {3}
    named = asked({**claim, "losses": ["raw"]}, runs=runs)
    rows, _ = decide_ablation("a", named, {}, [data], 200)
    assert list(rows.loss) == ["raw"]


def test_a_decision_is_repeatable(made: Made) -> None:
    one, other = (
        decide_ablation("a", asked(EXPONENT), {"made": made()}, [], 200)[0] for _ in range(2)
    )
    pd.testing.assert_frame_equal(one, other)


def test_a_decision_from_files_is_that_from_memory(shelf: Shelf) -> None:
    data = shelf.grid(noise, ("raw", "standardized"))
    folder = shelf.folder / "statistics" / "made"
    write_table(folder / "labels.csv", shelf.labels)
    write_table(folder / "force_labels.csv", NO_FORCES)
    n_train = int((shelf.labels.split == "train").sum())
    whose = replace(shelf.statistics, dataset="made", n_structures=n_train)
    whose.write(folder / "statistics.json")
    claim = {"claim": "C8", "statistic": "size_tradeoff", "expected": 0, "margin": 0.1}
    ablation = asked(claim, EXPONENT, runs={"energy_losses": ["raw", "standardized"]})
    labels = LabelData("made", shelf.labels, NO_FORCES, shelf.statistics)
    expected, _ = decide_ablation("a", ablation, {"made": labels}, [data], 100)
    found, _ = decide_from_files(
        "a",
        ablation,
        [folder / "labels.csv", folder / "force_labels.csv"],
        [result.folder / "record.json" for result in shelf.results],
        100,
    )
    pd.testing.assert_frame_equal(found, expected)
    assert list(found.verdict) == ["supported", found.verdict[1]]


def test_a_control_that_comes_out_wrong_is_named(made: Made) -> None:
    right = {**EXPONENT, "must_be": "supported"}
    wrong = {**EXPONENT, "expected": 1.0, "must_be": "supported"}
    ablation = asked(right, wrong, {**EXPONENT, "expected": 0.0})
    rows, _ = decide_ablation("planted", ablation, {"made": made(n=4000)}, [], 300)
    assert len(check_controls(rows.iloc[[0, 2]])) == 1
    with pytest.raises(PeslossError) as error:
        check_controls(rows)
    message = str(error.value)
    assert "planted: C2 label_exponent of made" in message
    assert "is contradicted" in message
    assert "allowed: supported" in message
    assert message.count("label_exponent") == 1


def test_a_control_that_cannot_be_measured_is_named(made: Made) -> None:
    ablation = asked({**EXPONENT, "must_be": "supported"})
    with pytest.raises(PeslossError, match=r"planted: control C2 label_exponent .* 8 atoms"):
        decide_ablation("planted", ablation, {"made": made(n_atoms=8)}, [], 100)


def test_claims_are_joined_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name, claims in (("a", ["C10", "C2"]), ("b", []), ("c", ["C2", "C1"])):
        write_table(
            tmp_path / name, pd.DataFrame({"claim": claims, "ablation": [name] * len(claims)})
        )
    found = collect_claims([tmp_path / name for name in "abc"])
    assert list(found.claim + found.ablation) == ["C1c", "C2a", "C2c", "C10a"]
    assert collect_claims([tmp_path / "b"]).empty


def test_a_statistic_of_a_whole_ablation_sees_all_data_and_names_its_rows(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(data: Study, options: Any, sampling: Sampling) -> Any:
        seen = f"{sorted(data.labels)} {len(data.comparisons)}"
        yield Measurement(0.0, -0.1, 0.1, 4, 1, group=seen)
        yield Measurement(0.0, -0.1, 0.1, 4, 1, dataset="made", model="schnet")

    module = ModuleType("together")
    vars(module).update(SCOPE="ablation", OPTIONS={}, measure=measured)
    monkeypatch.setattr(statistics, "load", lambda *_: module)
    labels = {"made": made(n=40), "other": made(1, n=40)}
    rows, _ = decide_ablation("a", asked(EXPONENT), labels, [], 100)
    assert list(rows.dataset) == ["several", "made"]
    assert list(rows.model) == ["", "schnet"]
    assert rows.group[0] == "['made', 'other'] 0"


def tuned_errors(run: Run, table: pd.DataFrame) -> Array:
    """Raw is best at a rate of 0.2, standardized at the usual 0.1; raw is twice as good there."""
    rate = dict(run.changes).get("learning_rate", 0.1)
    best = {"raw": 0.2, "standardized": 0.1}[run.energy_loss]
    level = 1.0 if run.energy_loss == "raw" else 2.0
    factor = level * (1 + abs(float(np.log(rate / best))))
    return factor * noise(run, table)


def tuned_shelf(shelf: Shelf, **hashes: str) -> Shelf:
    for loss, rate, seed in itertools.product(("raw", "standardized"), (0.05, 0.1, 0.2), (0, 1)):
        changes = () if rate == 0.1 else (("learning_rate", rate),)
        named = {"training": f"{rate}", **(hashes if rate == 0.05 else {})}
        shelf.add(Run("made", "schnet", loss, seed=seed, changes=changes), tuned_errors, named)
    return shelf


def test_each_loss_is_compared_at_its_own_best_setting(shelf: Shelf) -> None:
    (data,) = tuned_shelf(shelf).compared(("learning_rate",))
    assert len(data.results) == 4
    assert data.variant_of("raw") == "tuned learning_rate=0.2"
    assert data.variant_of("standardized") == "tuned learning_rate=0.1"
    ratio = np.std(data.values("raw", 1.0, lambda t: t.energy_error)) / np.std(
        data.values("standardized", 1.0, lambda t: t.energy_error)
    )
    assert ratio == pytest.approx(0.5)


def test_untuned_settings_are_compared_apart(shelf: Shelf) -> None:
    variants = sorted(data.variant for data in tuned_shelf(shelf).compared())
    assert variants == ["base", "learning_rate=0.05", "learning_rate=0.2"]


def test_tuning_one_setting_does_not_excuse_another(shelf: Shelf) -> None:
    for rate in (0.1, 0.2):
        loss = "raw" if rate == 0.1 else "standardized"
        more = () if rate == 0.1 else (("n_steps", 18.0),)
        run = Run("made", "schnet", loss, changes=more)
        shelf.add(run, tuned_errors, {"training": loss})
    with pytest.raises(PeslossError, match=r"n_steps is 18\.0; allowed: 9, or n_steps tuned"):
        Comparison(
            "made", "schnet", "base", "raw", "mse", tuple(shelf.results), shelf.labels,
            shelf.statistics, ("learning_rate",),
        )  # fmt: skip


def capacity(shelf: Shelf, small: float, large: float, batches: str = "1") -> Study:
    """Errors of small structures under raw, times a factor that depends on the model's size."""

    def errors(run: Run, table: pd.DataFrame) -> Array:
        factor = small if run.changes else large
        raw = (table.size_group == "2–22") & (run.energy_loss == "raw")
        return np.where(raw, factor, 1.0) * noise(run, table)

    for loss, changes in itertools.product(("raw", "standardized"), ((), (("n_features", 8.0),))):
        for seed in range(3):
            same = {"batches": batches} if changes else {"batches": "1"}
            shelf.add(Run("made", "schnet", loss, seed=seed, changes=changes), errors, same)
    return Study({}, tuple(shelf.compared()))


def test_a_small_model_that_gives_up_small_structures_is_seen(shelf: Shelf) -> None:
    (found,) = measure("capacity_effect", capacity(shelf, 2.0, 1.25))
    assert found.estimate == pytest.approx(np.log(2.0 / 1.25))
    assert (found.dataset, found.model, found.loss) == ("made", "schnet", "raw")
    assert found.group == "8 against 32 features"


def test_models_that_shift_error_alike_differ_by_nothing(shelf: Shelf) -> None:
    (found,) = measure("capacity_effect", capacity(shelf, 2.0, 2.0))
    assert found.estimate == pytest.approx(0, abs=1e-12)
    assert found.low == pytest.approx(found.high)


def test_models_of_one_size_have_no_effect_of_size(shelf: Shelf) -> None:
    data = shelf.grid(noise, ("raw", "standardized"))
    (found,) = measure("capacity_effect", Study({}, (data,)))
    assert isinstance(found, NotMeasurable)


def test_models_trained_on_other_batches_are_not_compared(shelf: Shelf) -> None:
    with pytest.raises(PeslossError, match="made/base: hash of batches is '1'; allowed: '2'"):
        measure("capacity_effect", capacity(shelf, 2.0, 1.0, batches="2"))
