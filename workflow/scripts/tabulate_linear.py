"""Tabulate best exponents and what wrong ones cost, dataset by dataset."""

from pesloss.job.files import write_table
from pesloss.job.script import job
from pesloss.linear.job import join_efficiencies, summarize_all

with job(snakemake):
    write_table(snakemake.output.best, summarize_all(snakemake.input.fits))
    write_table(snakemake.output.efficiency, join_efficiencies(snakemake.input.efficiency))
