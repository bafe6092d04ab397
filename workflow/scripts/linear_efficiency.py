"""Compare every weighting with the Gauss–Markov bound, where the covariance is known."""

from pesloss.job.script import job
from pesloss.linear.job import write_efficiency

with job(snakemake):
    inputs = {name: snakemake.input[name] for name in ("features", "table", "statistics")}
    n_draws, seed = snakemake.params.n_draws, snakemake.params.seed
    write_efficiency(snakemake.output.efficiency, inputs, n_draws, seed)
