"""Compare the predictions of a run with the labels."""

from pathlib import Path

from pesloss.evaluation.errors import evaluate_run
from pesloss.job.script import job

with job(snakemake):
    given = snakemake.input
    evaluate_run(Path(given.record).parent, given.graphs, given.labels)
