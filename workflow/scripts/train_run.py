"""Train one model under one loss."""

from pathlib import Path

from pesloss.job.script import job
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.training.inputs import Inputs
from pesloss.training.job import RunFiles, train_run

with job(snakemake) as running:
    run = Run.from_wildcards(dict(snakemake.wildcards.items()))
    inputs = Inputs(*(snakemake.input[name] for name in ("graphs", "splits", "statistics")))
    model = ModelSpec(**snakemake.params.settings["model"])
    spec = TrainingSpec(**snakemake.params.settings["training"])
    files = RunFiles(**{name: Path(path) for name, path in snakemake.output.items()})
    shown = {"watch": running.watch, "say": running.say}
    train_run(run, inputs, model, spec, files, **shown, device=snakemake.params.device)
