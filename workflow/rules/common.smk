"""Reads and checks the configuration; every function the rules need."""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from pesloss.closure import code_digest
from pesloss.config_files import as_typed
from pesloss.cost import known_rates, plan_cost, plan_line
from pesloss.data.external import unavailable_here
from pesloss.errors import PeslossError
from pesloss.page.write import TABLES as REPORT_TABLES
from pesloss.page.write import page_files
from pesloss.plan import Suite

try:
    suite = Suite.read(as_typed(config), Path("config"), unavailable_here, workflow.configfiles)
except PeslossError as error:
    raise WorkflowError(str(error))
for dataset_left_out, why in suite.left_out.items():
    logger.warning(f"left out: dataset {dataset_left_out} ({why})")

if workflow.is_main_process:
    expected_cost = plan_cost(
        suite.runs,
        suite.models,
        suite.config.training,
        known_rates(Path("results/reference/tables/training_rates.csv")),
        suite.config.results,
    )
    logger.info(plan_line(expected_cost, suite.config.preset, workflow.resource_settings.cores))

FIGURES = suite.figures
GUIDE_TABLES = []  # further tables that the guide shows as they are
ALL_RUNS = [f"<results>/runs/{run.folder}/structures.csv.gz" for run in suite.runs]
ABLATION_RULES = sorted(
    str(path) for path in Path(workflow.current_basedir, "ablations").glob("*.smk")
)


wildcard_constraints:
    dataset="|".join(suite.made) or "none",
    ablation="|".join(suite.ablations) or "none",
    figure="|".join(FIGURES) or "none",
    model="|".join(suite.models) or "none",
    variant="[^/]+",
    energy_loss="[^/-]+",
    force_loss="[^/-]+",
    metric="[^/-]+",
    force_weight="[0-9.e+-]+",
    seed="[0-9]+",
    part="[0-9]+",
    cutoff="[0-9.]+",


def run_file(name):
    """Path of a file of a run, with the parts of the run as wildcards."""
    return f"<results>/runs/{suite.run_pattern}/{name}"


def structures_of(wildcards):
    """The structures of a dataset, where it has geometry."""
    geometric = suite.datasets[wildcards.dataset].has_geometry()
    return ["<results>/data/{dataset}/structures.extxyz"] if geometric else []


def parent_of(wildcards):
    """The structures that a subset is taken from."""
    return f"<results>/data/{suite.datasets[wildcards.dataset].parent}/structures.extxyz"


def graphs_of(wildcards):
    """The neighbour lists of a run's dataset at the cutoff of its model."""
    return f"<results>/data/{wildcards.dataset}/graphs-{suite.cutoff(wildcards):g}.npz"


def labels_of_ablation(wildcards):
    """The label tables of an ablation's datasets."""
    return [
        f"<results>/statistics/{dataset}/{name}"
        for dataset in suite.datasets_of(wildcards.ablation)
        for name in ("labels.csv", "force_labels.csv", "statistics.json")
    ]


def runs_of_ablation(wildcards):
    """The evaluated runs of an ablation."""
    return [
        f"<results>/runs/{run.folder}/structures.csv.gz"
        for run in suite.runs_of(wildcards.ablation)
    ]


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
    return code_digest(*(f"pesloss.claims.statistics.{claim.statistic}" for claim in claims))


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
