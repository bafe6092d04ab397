"""Compare the predictions of a run with the labels."""

from pathlib import Path

from pesloss.evaluation.errors import evaluate_run
from pesloss.job.script import job

with job(snakemake):
    evaluate_run(
        Path(snakemake.input.record),
        Path(snakemake.input.graphs),
        Path(snakemake.input.labels),
        Path(snakemake.output.structures),
        Path(snakemake.output.atoms),
        Path(snakemake.output.evaluation),
    )
