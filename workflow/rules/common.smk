"""Reads and checks the configuration; every function the rules need."""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from pesloss.data.external import unavailable_here
from pesloss.job.code_digest import code_digest, presentation_digest
from pesloss.job.errors import PeslossError
from pesloss.job.failures import watch_jobs
from pesloss.plan.cost import job_seconds, known_rates, plan_cost, plan_line, rates_by_model
from pesloss.plan.groups import to_make_again
from pesloss.plan.resources import Requests, growth
from pesloss.plan.suite import Suite
from pesloss.report.page.sources import TABLES as REPORT_TABLES
from pesloss.report.page.sources import page_files
from pesloss.spec.config_files import as_typed
from pesloss.spec.manifest import EVALUATION, RECORD
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
        [group.runs for group in suite.groups],
        suite.models,
        suite.config.training,
        measured_rates,
        RESULTS,
    )
    logger.info(plan_line(expected_cost, suite.config.preset, workflow.resource_settings.cores))
    again = to_make_again(RESULTS, suite.groups, suite.manifests())
    for why in dict.fromkeys(again.values()):
        logger.warning(f"made again: {why}")
else:
    again = {}

requests = Requests.read(
    Path("results/reference/tables/cost.csv"),
    growth(suite.made.values(), suite.config.preset),
)
seconds_per_structure = rates_by_model(measured_rates)
MAY_USE_GPU = suite.config.device == "auto"

FIGURES = suite.figures
SHOWN = presentation_digest("losses/energy", "claims/measures", "report/figures")
NAMES = suite.names.plain()
LABEL_FILES = ("labels.csv", "force_labels.csv", "statistics.json")


def receipts(runs):
    """What says that runs are trained and evaluated, group by group."""
    return [f"<results>/{path}" for path in suite.receipts(runs)]


def folders(runs):
    """The folders of runs, in which receipts say what lies."""
    return [str(RESULTS / "runs" / run.folder) for run in runs]


ALL_RUNS = receipts(suite.runs)
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
    batch="[0-9]+",
    part="[0-9]+",
    cutoff="[0-9.]+",


def asks(rule):
    """Memory and time that jobs of a rule ask a cluster for."""
    return {
        "mem_mb": lambda wildcards, attempt: requests.memory_mb(rule, attempt),
        "runtime": lambda wildcards, attempt: requests.minutes(rule, attempt),
    }


def runs_of_job(wildcards):
    """The runs that a job trains: one that is asked for by name, or those of a group."""
    parts = dict(wildcards.items())
    if "batch" in parts:
        return suite.group_in[suite.group_pattern.format(**parts)].runs
    return (Run.from_wildcards(parts),)


def minutes_of_training(wildcards, attempt):
    """Time that a job asks a cluster for to train its runs."""
    runs = runs_of_job(wildcards)
    model, training = suite.models[runs[0].model], suite.config.training
    expected, _ = job_seconds(runs, model, training, seconds_per_structure)
    return requests.minutes("train", attempt, expected)


def memory_of_training(wildcards, attempt):
    """Memory that a job asks a cluster for to train its runs."""
    n_runs = len(runs_of_job(wildcards))
    return requests.memory_mb("train", attempt, MAY_USE_GPU, n_runs)


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
    # Asked for every job of runs while jobs are put together, before Snakemake looks which have to
    # run. Forced as it forces incomplete files: in a dry run too, and nothing is deleted.
    workflow.dag.forcefiles.update(again)
    model, _ = suite.settings_of(runs_of_job(wildcards)[0])
    return f"<results>/data/{wildcards.dataset}/graphs-{model.cutoff:g}.npz"


def labels_of_ablation(wildcards):
    """The label tables of an ablation's datasets."""
    return [
        f"<results>/statistics/{dataset}/{name}"
        for dataset in suite.datasets_of(wildcards.ablation)
        for name in LABEL_FILES
    ]


def runs_of_ablation(wildcards):
    """The receipts of the runs of an ablation."""
    return receipts(suite.runs_of(wildcards.ablation))


def evaluated(wildcards):
    """What says that a run is evaluated: the receipt of its group, if it is in the plan."""
    run = Run.from_wildcards(dict(wildcards.items()))
    own = [run_file(name) for name in (RECORD, EVALUATION, "atoms.csv.gz")]
    return receipts([run]) if run in suite.group_of else own


def settings_of_training(wildcards):
    """The settings of the model and the training of a job's runs, their changes applied."""
    model, training = suite.settings_of(runs_of_job(wildcards)[0])
    return {"model": model.model_dump(), "training": training.model_dump()}


def code_of_training(wildcards):
    """A digest of the code of a job's trainings and of their losses alone."""
    runs = runs_of_job(wildcards)
    energy = {f"pesloss.losses.energy.{run.energy_loss}" for run in runs}
    forces = {f"pesloss.losses.forces.{run.force_loss}" for run in runs}
    return code_digest("pesloss.evaluation.group", *sorted(energy), *sorted(forces))


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
