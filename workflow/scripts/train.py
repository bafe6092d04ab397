"""Train and evaluate runs that share their batches."""

from pathlib import Path

from pesloss.evaluation.group import make_group
from pesloss.job.script import job
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.training.inputs import Inputs

with job(snakemake) as running:
    given, params, settings = snakemake.input, snakemake.params, snakemake.params.settings
    runs = [Run.from_folder(folder) for folder in params.runs]
    inputs = Inputs(given.graphs, given.splits, given.statistics)
    specs = ModelSpec(**settings["model"]), TrainingSpec(**settings["training"])
    how = {"watch": running.watch, "say": running.say, "device": params.device}
    folder, receipt = Path(params.folder), Path(snakemake.output.receipt)
    make_group(runs, folder, inputs, given.labels, *specs, receipt, **how)
