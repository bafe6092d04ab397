"""Fit a linear model exactly under every weighting, over many random halves."""

from pesloss.job.script import job
from pesloss.linear.job import fit_dataset

with job(snakemake) as running:
    inputs = {name: snakemake.input[name] for name in ("features", "table", "statistics")}
    n_replicates, seed = snakemake.params.n_replicates, snakemake.params.seed
    fit_dataset(snakemake.output.fits, inputs, n_replicates, seed, running.watch)
