"""Reads and checks the configuration; every function the rules need."""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from pesloss.data.external import unavailable_here
from pesloss.job.code_digest import code_digest, presentation_digest
from pesloss.job.errors import PeslossError
from pesloss.job.failures import watch_jobs
from pesloss.plan.cost import known_rates, plan_cost, plan_line, rates_by_model, training_seconds
from pesloss.plan.resources import Requests, growth
from pesloss.plan.suite import Suite
from pesloss.report.page.sources import TABLES as REPORT_TABLES
from pesloss.report.page.sources import page_files
from pesloss.spec.config_files import as_typed
from pesloss.spec.manifest import EVALUATION, RECORD, damaged
from pesloss.spec.run import Run

try:
    suite = Suite.read(as_typed(config), Path("config"), unavailable_here, workflow.configfiles)
except PeslossError as error:
    raise WorkflowError(str(error))
for dataset_left_out, why in suite.left_out.items():
    logger.warning(f"left out: dataset {dataset_left_out} ({why})")

RESULTS = Path(suite.config.results)
measured_rates = known_rates(Path("results/reference/tables/training_rates.csv"))
if workflow.is_main_process:
    watch_jobs(workflow, logger)
    expected_cost = plan_cost(
        suite.runs,
        suite.models,
        suite.config.training,
        measured_rates,
        RESULTS,
    )
    logger.info(plan_line(expected_cost, suite.config.preset, workflow.resource_settings.cores))
    to_make_again = {
        str(path): why for path, why in damaged(RESULTS / path for path in suite.manifests())
    }
    for why in dict.fromkeys(to_make_again.values()):
        logger.warning(f"made again: {why}")
else:
    to_make_again = {}

requests = Requests.read(
    Path("results/reference/tables/cost.csv"),
    growth(suite.made.values(), suite.config.preset),
)
seconds_per_structure = rates_by_model(measured_rates)
MAY_USE_GPU = suite.config.device == "auto"

FIGURES = suite.figures
SHOWN = presentation_digest("losses/energy", "claims/measures", "report/figures")
LABEL_FILES = ("labels.csv", "force_labels.csv", "statistics.json")
JUDGED = (RECORD, EVALUATION, "structures.csv.gz")


def files_of_runs(runs, *names):
    """Paths of files of runs."""
    return [f"<results>/runs/{run.folder}/{name}" for run in runs for name in names]


ALL_RUNS = files_of_runs(suite.runs, "structures.csv.gz")
ABLATION_RULES = sorted(
    str(path) for path in Path(workflow.current_basedir, "ablations").glob("*.smk")
)


wildcard_constraints:
    dataset="|".join(suite.made) or "none",
    ablation="|".join(suite.ablations) or "none",
    figure="|".join(FIGURES) or "none",
    model="|".join(suite.models) or "none",
    variant="[^/,]+",
    energy_loss="[^/-]+",
    force_loss="[^/-]+",
    metric="[^/-]+",
    force_weight="[0-9.e+-]+",
    seed="[0-9]+",
    part="[0-9]+",
    cutoff="[0-9.]+",


def asks(rule):
    """Memory and time that jobs of a rule ask a cluster for."""
    return {
        "mem_mb": lambda wildcards, attempt: requests.memory_mb(rule, attempt),
        "runtime": lambda wildcards, attempt: requests.minutes(rule, attempt),
    }


def minutes_of_training(wildcards, attempt):
    """Time that one training asks a cluster for."""
    run = Run.from_wildcards(dict(wildcards.items()))
    model = suite.models[run.model]
    expected, _ = training_seconds(run, model, suite.config.training, seconds_per_structure)
    return requests.minutes("train", attempt, expected)


def run_file(name):
    """Path of a file of a run, with the parts of the run as wildcards."""
    return f"<results>/runs/{suite.run_pattern}/{name}"


def settings_of_dataset(wildcards):
    """What jobs read of a dataset's card."""
    return suite.made[wildcards.dataset].settings(suite.config.preset)


def structures_of(wildcards):
    """The structures of a dataset, where it has geometry."""
    geometric = suite.datasets[wildcards.dataset].has_geometry()
    return ["<results>/data/{dataset}/structures.extxyz"] if geometric else []


def parent_of(wildcards):
    """The structures that a subset is taken from."""
    return f"<results>/data/{suite.datasets[wildcards.dataset].parent}/structures.extxyz"


def graphs_of(wildcards):
    """The neighbour lists of a run's dataset at the cutoff of its model."""
    # Asked for every run while jobs are put together, before Snakemake looks which have to run.
    # Forced as it forces incomplete files: in a dry run too, and nothing is deleted.
    workflow.dag.forcefiles.update(to_make_again)
    return f"<results>/data/{wildcards.dataset}/graphs-{suite.cutoff(wildcards):g}.npz"


def labels_of_ablation(wildcards):
    """The label tables of an ablation's datasets."""
    return [
        f"<results>/statistics/{dataset}/{name}"
        for dataset in suite.datasets_of(wildcards.ablation)
        for name in LABEL_FILES
    ]


def runs_of_ablation(wildcards):
    """The evaluated runs of an ablation."""
    return files_of_runs(suite.runs_of(wildcards.ablation), "structures.csv.gz")


def records_of_ablation(wildcards):
    """What says which files the evaluated runs of an ablation have."""
    return files_of_runs(suite.runs_of(wildcards.ablation), RECORD, EVALUATION)


def settings_of_training(wildcards):
    """The settings of a run's model and training, its changes applied."""
    run = Run.from_wildcards(dict(wildcards.items()))
    model, training = suite.settings_of(run)
    return {"model": model.model_dump(), "training": training.model_dump()}


def code_of_training(wildcards):
    """A digest of the code of a training and of its losses alone."""
    return code_digest(
        "pesloss.training.job",
        f"pesloss.losses.energy.{wildcards.energy_loss}",
        f"pesloss.losses.forces.{wildcards.force_loss}",
    )


def inputs_of_ablation(wildcards):
    """What else the statistics of an ablation's claims need."""
    return [f"<results>/{path}" for path in suite.inputs_of(wildcards.ablation)]


def statistics_of_ablation(wildcards):
    """A digest of the code of the statistics that an ablation's claims use."""
    claims = suite.ablations[wildcards.ablation].claims
    return code_digest(*(f"pesloss.claims.measures.{claim.statistic}" for claim in claims))


def claims_by_ablation():
    """The ids of each ablation's claims."""
    return {name: [c.claim for c in spec.claims] for name, spec in suite.ablations.items()}


def runs_by_ablation():
    """The folders of each ablation's runs."""
    return {name: [str(run.folder) for run in suite.runs_of(name)] for name in suite.ablations}


def tables_of_figure(wildcards):
    """The tables a figure is drawn from."""
    return [f"<results>/tables/{name}" for name in suite.sources(wildcards.figure)]


LINEAR_MODEL = "schnet"


def graphs_of_features(wildcards):
    """The neighbour lists of a dataset with geometry at the cutoff of the model."""
    geometric = suite.datasets[wildcards.dataset].has_geometry()
    cutoff = suite.models[LINEAR_MODEL].cutoff
    return [f"<results>/data/{wildcards.dataset}/graphs-{cutoff:g}.npz"] if geometric else []
