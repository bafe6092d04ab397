"""A run is its folder."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from snakemake.target_jobs import parse_target_jobs_cli_args
from snakemake_interface_executor_plugins.utils import TargetSpec, encode_target_jobs_cli_args

from pesloss.job.errors import PeslossError
from pesloss.plan.suite import expand
from pesloss.spec.config import Ablation, Limits, RunGrid, SuiteConfig
from pesloss.spec.run import PATTERN, RUN_COLUMNS, Run, parse_variant, same_except, settings_of
from pesloss.spec.settings import ModelSpec, TrainingSpec

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
positive = st.floats(min_value=1e-30, max_value=1e30)
runs = st.builds(
    Run,
    dataset=names,
    model=names,
    energy_loss=names,
    force_loss=names,
    metric=names,
    force_weight=positive,
    seed=st.integers(0, 10**6),
    changes=st.dictionaries(names, positive, max_size=3).map(lambda d: tuple(d.items())),
)


@given(runs)
def test_a_run_is_rebuilt_from_its_folder(run: Run) -> None:
    assert Run.from_folder(str(run.folder)) == run


@given(runs)
def test_a_run_arrives_whole_at_a_cluster(run: Run) -> None:
    """Snakemake names a job to itself as key=value,key=value."""
    found = re.fullmatch(PATTERN, str(run.folder))
    assert found
    spec = TargetSpec("train_run", found.groupdict())
    assert parse_target_jobs_cli_args(encode_target_jobs_cli_args([spec])) == [spec]


@given(runs, runs)
def test_two_runs_never_share_a_folder(one: Run, other: Run) -> None:
    assert (one.folder == other.folder) == (one == other)


def test_numbers_in_folders_are_short_and_exact() -> None:
    assert Run("d", "m", "raw").folder.parts[-2:] == ("weight-1", "seed-0")
    assert Run("d", "m", "raw", force_weight=0.1).folder.parts[-2] == "weight-0.1"
    near = [Run("d", "m", "raw", force_weight=w).folder for w in (0.1, 0.1000000001)]
    assert near[0] != near[1]


@pytest.mark.parametrize("folder", ["", "a/b", "d/m/base/raw-raw/weight-1/seed-0"])
def test_a_foreign_folder_is_refused(folder: str) -> None:
    with pytest.raises(PeslossError, match="run folder: path is"):
        Run.from_folder(folder)


@pytest.mark.parametrize("variant", ["", "cutoff", "cutoff=", "cutoff=3=4", "a=1,b=2"])
def test_a_foreign_variant_is_refused(variant: str) -> None:
    with pytest.raises(PeslossError, match="variant is"):
        parse_variant(variant)


def test_columns_tell_a_run_completely() -> None:
    run = Run("d", "m", "raw", changes=(("cutoff", 3.0),))
    assert tuple(run.columns) == RUN_COLUMNS
    assert run.columns["variant"] == "cutoff=3"


def ablation(**grid: object) -> Ablation:
    claim = {"claim": "C7", "statistic": "error_exponent", "expected": 0.5, "margin": 0.1}
    runs = RunGrid.model_validate(grid)
    content = {"question": "?", "datasets": ["a", "b"], "runs": runs, "claims": [claim]}
    return Ablation.model_validate(content)


CONFIG = SuiteConfig(seeds=(0, 1, 2), force_weights=(0.1, 1.0))
MODELS = {"schnet": ModelSpec(representation="schnet")}


def test_a_grid_is_the_product_of_its_lists() -> None:
    grid = ablation(energy_losses=("raw", "sqrt_n"), vary={"cutoff": (3.0, 4.0)})
    found = list(expand(grid, CONFIG, MODELS, ("a", "b")))
    assert len(found) == len(set(found)) == 2 * 2 * 3 * 2 * 2
    assert len(list(expand(grid, CONFIG, MODELS, ("a",)))) == len(found) // 2
    assert {run.variant for run in found} == {"cutoff=3", "cutoff=4"}


def test_a_setting_varied_to_its_usual_value_is_the_usual_run() -> None:
    usual = CONFIG.training.learning_rate
    grid = ablation(vary={"learning_rate": (usual, 2 * usual)})
    changed = {run.changes for run in expand(grid, CONFIG, MODELS, ("a",))}
    assert changed == {(), (("learning_rate", 2 * usual),)}
    assert set(expand(ablation(), CONFIG, MODELS, ("a",))) < set(
        expand(grid, CONFIG, MODELS, ("a",))
    )


def test_a_value_may_be_a_multiple_of_that_of_the_preset() -> None:
    grid = ablation(vary={"n_steps": ("1x", "5x"), "cutoff": ("0.5x",)})
    usual = CONFIG.training.n_steps
    changed = {run.changes for run in expand(grid, CONFIG, MODELS, ("a",))}
    half = ("cutoff", MODELS["schnet"].cutoff / 2)
    assert changed == {(half,), (("n_steps", 5.0 * usual), half)}
    longer = CONFIG.model_copy(update={"training": TrainingSpec(n_steps=2 * usual)})
    found = {run.changes for run in expand(grid, longer, MODELS, ("a",))}
    assert (("n_steps", 10.0 * usual), half) in found


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("signal_at", "2x", "signal_at is '2x'; allowed: for batch_size"), ("n_steps", "x5", "x5")],
)
def test_only_numbers_have_multiples(key: str, value: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ablation(vary={key: (value,)})


def test_a_large_preset_sweeps_all_weights_in_every_ablation() -> None:
    grid = ablation(seeds=(3,), force_weights=(1.0, 5.0))
    large = CONFIG.model_copy(update={"sweep_everywhere": True})
    weights = {run.force_weight for run in expand(grid, large, MODELS, ("a",))}
    assert weights == {0.1, 1.0, 5.0}


def test_toy_sizes_try_few_seeds_and_values() -> None:
    grid = ablation(seeds=(3, 4), vary={"cutoff": (2.0, 3.0, 4.0)}, force_weights=(1.0, 5.0))
    toy = CONFIG.model_copy(update={"most": Limits(seeds=1, force_weights=1, values=2)})
    found = set(expand(grid, toy, MODELS, ("a",)))
    assert {(run.seed, run.force_weight) for run in found} == {(3, 1.0)}
    assert {run.variant for run in found} == {"cutoff=2", "cutoff=3"}


@pytest.mark.parametrize("tuned", ["n_steps", "n_features", "no_such_key"])
def test_only_a_varied_setting_of_the_training_is_tuned(tuned: str) -> None:
    with pytest.raises(ValidationError, match=f"runs.tuned is '{tuned}'; allowed: learning_rate"):
        ablation(vary={"learning_rate": (0.1,), "n_features": (8,)}, tuned=(tuned,))


def test_an_ablation_overrides_seeds_and_weights() -> None:
    found = list(expand(ablation(seeds=(9,), force_weights=(5.0,)), CONFIG, MODELS, ("a",)))
    assert {(run.seed, run.force_weight) for run in found} == {(9, 5.0)}


def test_ablations_share_the_runs_they_have_in_common() -> None:
    one = set(expand(ablation(energy_losses=("raw", "sqrt_n")), CONFIG, MODELS, ("a",)))
    other = set(expand(ablation(energy_losses=("sqrt_n", "per_atom")), CONFIG, MODELS, ("a",)))
    assert {run.energy_loss for run in one & other} == {"sqrt_n"}
    assert len(one & other) == len(one) // 2


def test_changes_reach_the_model_or_the_training() -> None:
    model = ModelSpec(representation="schnet")
    run = Run("d", "m", "raw", changes=(("cutoff", 3.5), ("n_steps", 7.0)))
    changed_model, changed_training = settings_of(run, model, TrainingSpec())
    assert (changed_model.cutoff, changed_training.n_steps) == (3.5, 7)
    assert changed_training.batch_size == TrainingSpec().batch_size


@pytest.mark.parametrize("change", [("cutof", 3.0), ("n_steps", 0.5), ("cutoff", -1.0)])
def test_a_wrong_change_is_named(change: tuple[str, float]) -> None:
    run = Run("d", "m", "raw", changes=(change,))
    with pytest.raises(PeslossError) as error:
        settings_of(run, ModelSpec(representation="schnet"), TrainingSpec())
    assert change[0] in str(error.value)
    assert "\n" not in str(error.value)


def test_runs_with_different_hashes_are_refused_and_named() -> None:
    records = [
        {"run": name, "hashes": {"data": "x", "split": split}}
        for name, split in (("one", "p"), ("two", "p"), ("three", "q"))
    ]
    same_except(records, ("data",))
    same_except(records[:2], ("data", "split"))
    with pytest.raises(PeslossError, match=r"three: hash of split is 'q'; allowed: 'p'.*one"):
        same_except(records, ("data", "split"))


@pytest.mark.parametrize("place", [0, 1])
def test_a_record_that_lacks_a_hash_is_not_compared(place: int) -> None:
    records: list[dict[str, Any]] = [{"run": n, "hashes": {"data": "x"}} for n in ("one", "two")]
    del records[place]["hashes"]["data"]
    name = records[place]["run"]
    with pytest.raises(PeslossError, match=f"{name}: hash of data is missing"):
        same_except(records, ("data",))
