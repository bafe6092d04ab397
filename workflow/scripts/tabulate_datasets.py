"""Describe the datasets: sizes, species, what was left out."""

from pathlib import Path

from pesloss.data.overview import dataset_table
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake) as running:
    folder = Path(snakemake.input.tables[0]).parents[1]
    table = dataset_table(snakemake.params.described, folder, running.watch)
    write_table(snakemake.output.datasets, table)
