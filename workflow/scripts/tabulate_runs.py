"""Summarise all runs: errors of structures, of groups and of species, and signals."""

from pesloss.evaluation.tables import run_tables
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake) as running:
    records = [f"{folder}/record.json" for folder in snakemake.params.runs]
    tables = run_tables(records, snakemake.input.labels, running.watch)
    for name, path in snakemake.output.items():
        write_table(path, tables[name])
