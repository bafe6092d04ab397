"""Decide which losses are better than others, and at which force weight."""

from pathlib import Path

import numpy as np

from pesloss.claims.advice import carried_table, compared_table
from pesloss.claims.job import read_study
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake):
    labels = [Path(path) for path in snakemake.input.labels]
    records = [Path(folder) / "record.json" for folder in snakemake.params.runs]
    found = read_study(labels, records, pooled=True).comparisons
    rng = np.random.default_rng(0)
    compared = compared_table(found, rng, snakemake.params.n_resamples)
    write_table(snakemake.output.compared, compared)
    write_table(snakemake.output.carried, carried_table(found))
