"""Tabulate best force weights and what it costs to use them on other data."""

from pathlib import Path

from pesloss.claims.job import read_study
from pesloss.claims.weight_tables import weight_tables
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake):
    study = read_study(
        [Path(path) for path in snakemake.input.labels],
        [Path(folder) / "record.json" for folder in snakemake.params.runs],
    )
    weights, regrets = weight_tables(study)
    write_table(snakemake.output.weights, weights)
    write_table(snakemake.output.regrets, regrets)
