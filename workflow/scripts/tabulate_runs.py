"""Summarise all runs: errors of structures, of groups and of species, and signals."""

from pesloss.evaluation.tables import run_tables
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake) as running:
    tables = run_tables(snakemake.input.structures, snakemake.input.labels, running.watch)
    for name, path in snakemake.output.items():
        write_table(path, tables[name])
