"""Join the standardised labels of all datasets."""

from pesloss.evaluation.tables import joined, statistics_table
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake):
    names = snakemake.params.datasets
    write_table(snakemake.output.labels, joined(names, snakemake.input.labels))
    write_table(snakemake.output.histograms, joined(names, snakemake.input.histograms))
    write_table(snakemake.output.statistics, statistics_table(snakemake.input.statistics))
