"""Which jobs an edit of the configuration makes again: those that read what changed, no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Tiny
from planning import Plan, Planned
from projects import copy_project

from pesloss.data.kinds.files import Recipe
from pesloss.data.spec import DatasetSpec
from pesloss.spec.names import Titled
from pesloss.spec.settings import ModelSpec, TrainingSpec

DATASETS = ("si_sw", "si_sw_small", "labels_tau", "mine")
ABLATIONS = {
    "trained": {
        "question": "Is a job made again when what it reads has changed?",
        "datasets": ["si_sw", "mine"],
        "runs": {"models": ["schnet", "painn"], "energy_losses": ["raw", "standardized"]},
        "claims": [{"claim": "C7", "statistic": "error_exponent", "expected": 0.5, "margin": 0.1}],
    },
    "changed": {
        "question": "And where a run has a value of its own?",
        "datasets": ["si_sw"],
        "runs": {"energy_losses": ["raw"], "vary": {"learning_rate": [0.001]}},
        "claims": [{"claim": "C7", "statistic": "error_exponent", "expected": 0.5, "margin": 0.1}],
    },
    "labels": {
        "question": "And without runs?",
        "datasets": ["si_sw_small", "labels_tau"],
        "claims": [
            {"claim": "C2", "statistic": "label_exponent", "expected": 0.5, "margin": 0.1},
            {"claim": "C9", "statistic": "best_exponent", "expected": 1, "margin": 0.5},
        ],
    },
}
SHOWN = {"tabulate_datasets", "write_report"}
"""Jobs that show a description."""
SHOWING_TITLES = {"draw_figure", "write_verdicts", "write_guide", "write_report",
                  "tabulate_cost"}  # fmt: skip


@pytest.fixture(scope="module")
def plan(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    project = copy_project(tmp_path_factory.mktemp("plan") / "project", tiny.structures)
    for path in (project / "config/ablations").glob("*.yaml"):
        path.unlink()
    for name, content in ABLATIONS.items():
        text = yaml.safe_dump(content, sort_keys=False)
        (project / f"config/ablations/{name}.yaml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        plan = Plan(
            project, {"datasets": list(DATASETS), "most": {"datasets": 9, "seeds": 9}}, patch
        )
        plan.finish()
        yield plan


def of(planned: Planned, *rules: str) -> set[str]:
    """The first parts of the wildcards of the planned jobs of these rules, such as datasets."""
    return {wildcards.split("/")[0] for rule in rules for wildcards in planned.get(rule, ())}


def test_nothing_is_planned_when_nothing_has_changed(plan: Plan) -> None:
    assert plan.jobs() == ({}, {})


@pytest.mark.parametrize(
    "file",
    [
        *(f"config/datasets/{name}.yaml" for name in DATASETS),
        *(f"config/ablations/{name}.yaml" for name in ABLATIONS),
        "config/models/schnet.yaml",
        "config/presets/smoke.yaml",
    ],
)
def test_a_comment_makes_no_job_again_but_the_report_that_shows_the_file(
    plan: Plan, file: str
) -> None:
    shown = "datasets" in file or "ablations" in file
    assert set(plan.after(file, value="a comment")[0]) == ({"write_report"} if shown else set())


def test_a_text_of_a_dataset_makes_only_what_shows_it_again(plan: Plan) -> None:
    for name in DATASETS:
        file = f"config/datasets/{name}.yaml"
        assert set(plan.after(file, "description", value="other")[0]) == SHOWN
    texts = {name for name in Recipe.model_fields if Recipe.model_fields[name].annotation is str}
    assert texts == set(Recipe.TEXTS)
    for key in Recipe.TEXTS:
        planned, _ = plan.after("config/datasets/mine.yaml", "recipe", key, value="other")
        assert set(planned) == {"write_report"}, key


@pytest.mark.parametrize("file", ["config/datasets/si_sw.yaml", "config/models/schnet.yaml"])
def test_a_title_makes_only_what_shows_it_again(plan: Plan, file: str) -> None:
    for key, value in (("title", "other"), ("place", 1)):
        planned, _ = plan.after(file, key, value=value)
        assert set(planned) <= SHOWING_TITLES
        assert "write_report" in planned or key == "place"  # which may leave the order as it is


def test_what_theory_says_of_a_dataset_makes_no_data_again(plan: Plan) -> None:
    truth = {"formula": "given", "sigma": 0.1}
    planned, _ = plan.after("config/datasets/si_sw.yaml", "truth", value=truth)
    assert set(planned) == {"write_report"}


FIRST_OF = {
    "si_sw": "generate_part",
    "si_sw_small": "take_subset",
    "labels_tau": "draw_dataset",
    "mine": "read_dataset",
}
OTHERS = {
    ("si_sw", "seed"): 14,
    ("si_sw", "n_structures"): 73,
    ("si_sw", "recipe"): {"rattle": [0.02, 0.15]},
    ("si_sw_small", "seed"): 14,
    ("si_sw_small", "recipe"): {"of": "si_sw", "max_atoms": 15},
    ("labels_tau", "seed"): 14,
    ("labels_tau", "n_structures"): {"smoke": 7000},
    ("mine", "seed"): 14,
    ("mine", "n_structures"): 30,
}


@pytest.mark.parametrize(("name", "key"), OTHERS)
def test_a_setting_of_a_dataset_makes_its_data_and_what_follows_again(
    plan: Plan, name: str, key: str
) -> None:
    planned, first = plan.after(f"config/datasets/{name}.yaml", key, value=OTHERS[name, key])
    assert first.keys() == {FIRST_OF[name]}
    assert of(first, FIRST_OF[name]) == {name}
    subsets = {"si_sw_small"} if name == "si_sw" else set()
    made = ("split_dataset", "fit_statistics", "standardize_labels", *FIRST_OF.values())
    assert of(planned, *made) == {name, *subsets}
    assert of(planned, "train") == {name} & {"si_sw", "mine"}
    assert of(planned, "build_graphs") <= {name, *subsets}


def test_every_field_of_a_dataset_is_edited_here() -> None:
    edited = {key for _, key in OTHERS} | {"description", "truth", *Titled.model_fields}
    assert set(DatasetSpec.model_fields) - edited == {"kind"}  # another kind has another recipe


def test_what_a_dataset_says_anyway_and_sizes_of_other_presets_change_nothing(plan: Plan) -> None:
    file = "config/datasets/si_sw.yaml"
    for key, value in (
        ("n_structures", {"smoke": 72, "default": 1601, "full": 6401}),
        ("n_structures", 72),
        ("recipe", {"n_twins": 4}),
    ):
        assert set(plan.after(file, key, value=value)[0]) == {"write_report"}, value


MODEL = {"representation": "painn", "n_features": 31, "n_interactions": 1, "n_radial": 15}


@pytest.mark.parametrize("key", [*MODEL, "cutoff"])
def test_a_setting_of_a_model_trains_its_runs_again(plan: Plan, key: str) -> None:
    assert set(ModelSpec.model_fields) == {*MODEL, "cutoff", *Titled.model_fields}
    planned, first = plan.after("config/models/schnet.yaml", key, value=MODEL.get(key, 3.5))
    new = {"build_graphs"} if key == "cutoff" else {"train", "linear_features"}
    assert {*first, "linear_features"} == {*new, "linear_features"}
    assert {wildcards.split("/")[1] for wildcards in planned["train"]} == {"schnet"}
    assert len(planned["train"]) == 3
    assert not of(planned, *FIRST_OF.values(), "fit_statistics")


TRAINING = {
    "n_steps": 11, "batch_size": 4, "learning_rate": 0.004, "warmup_fraction": 0.1,
    "term_constants": False, "standardized_outputs": False, "units_per_ev": 2.0,
    "huber_delta": 2.0, "n_validations": 3, "n_validation_structures": 15, "signal_at": [0.5, 1.0],
    "n_signal_structures": 3,
}  # fmt: skip


@pytest.mark.parametrize("key", TRAINING)
def test_a_setting_of_the_training_trains_the_runs_again_that_have_none_of_their_own(
    plan: Plan, key: str
) -> None:
    assert set(TrainingSpec.model_fields) == set(TRAINING)
    file = "config/presets/smoke.yaml"
    planned, first = plan.after(file, "training", key, value=TRAINING[key])
    assert first.keys() == {"train"}
    own = sum("learning_rate=" in wildcards for wildcards in planned["train"])
    assert (len(planned["train"]), own) == ((4, 0) if key == "learning_rate" else (5, 1))


@pytest.mark.parametrize("name", ABLATIONS)
def test_texts_of_an_ablation_decide_nothing_and_its_margins_it_alone(
    plan: Plan, name: str
) -> None:
    file = f"config/ablations/{name}.yaml"
    for keys in (("question",), ("why",), ("claims", 0, "why")):
        assert set(plan.after(file, *keys, value="other")[0]) == {"write_report"}
    planned, first = plan.after(file, "claims", 0, "margin", value=0.2)
    assert first.keys() == {"decide_claims"}
    assert planned["decide_claims"] == {name}


def test_jobs_watch_no_card_but_the_report(plan: Plan) -> None:
    jobs = plan.every()
    watching = {
        job.rule.name for job in jobs if any(Path(f).parts[0] == "config" for f in job.input)
    }
    assert watching == {"write_report"}


def test_an_ablation_with_a_new_loss_lets_only_groups_grow_that_it_is_of(plan: Plan) -> None:
    losses = ["raw", "standardized", "sqrt_n"]
    planned, first = plan.after(
        "config/ablations/trained.yaml", "runs", "energy_losses", value=losses
    )
    assert planned["train"] == {
        f"{dataset}/{model}/base/0/0"
        for dataset in ("si_sw", "mine")
        for model in ("schnet", "painn")
    }
    assert planned["decide_claims"] == {"trained"}
    assert first.keys() == {"train"}
    assert not of(planned, *FIRST_OF.values(), "fit_statistics", "build_graphs")


def test_further_seeds_are_groups_of_their_own(plan: Plan) -> None:
    path = Path("config/more_seeds.yaml")
    path.write_text("seeds: {smoke: {trained: 2}}\n", encoding="utf-8")
    planned, _ = plan.jobs()
    path.unlink()
    assert planned["train"] == {
        f"{dataset}/{model}/base/1/0"
        for dataset in ("si_sw", "mine")
        for model in ("schnet", "painn")
    }
    assert planned["decide_claims"] == {"trained"}


def test_jobs_that_read_runs_wait_for_the_receipts_of_all_of_them(plan: Plan) -> None:
    jobs = plan.every()
    made = {str(job.output.receipt): job.params.runs for job in jobs if job.rule.name == "train"}
    waiting = {
        "decide_claims", "advise", "tabulate_runs", "tabulate_records", "tabulate_weights",
        "tabulate_correlation",
    }  # fmt: skip
    read = {}
    for job in jobs:
        given = job.params.get("folders", job.params.get("runs"))
        if job.rule.name != "train" and isinstance(given, list):
            spoken_of = {run for path in job.input if path in made for run in made[path]}
            read[job.rule.name] = {folder.partition("/runs/")[2] for folder in given}
            assert read[job.rule.name] <= spoken_of, job.rule.name
    assert {name for name, runs in read.items() if runs} <= waiting
    assert {"decide_claims", "advise", "tabulate_runs", "tabulate_records"} <= read.keys()
    assert len(read["tabulate_runs"]) == 9
