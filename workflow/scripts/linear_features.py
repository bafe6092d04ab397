"""Sum the features of models at their initial weights over the atoms of each structure."""

from pesloss.job.script import job
from pesloss.linear.job import write_features
from pesloss.spec.settings import ModelSpec

with job(snakemake):
    write_features(
        snakemake.output.features,
        snakemake.input.table,
        snakemake.input.statistics,
        snakemake.input.graphs,
        ModelSpec(**snakemake.params.model),
        snakemake.params.seed,
    )
