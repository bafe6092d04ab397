"""Add up time and peak memory of all jobs by rule."""

from pathlib import Path

from pesloss.cost import cost_table
from pesloss.files import write_table
from pesloss.workflow import job

with job(snakemake):
    write_table(snakemake.output.cost, cost_table(Path(snakemake.log[0]).parent))
