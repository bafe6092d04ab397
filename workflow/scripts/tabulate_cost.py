"""Add up time and peak memory of all jobs by rule; collect their notes."""

from pathlib import Path

from pesloss.cost import cost_table
from pesloss.files import write_table
from pesloss.notes import notes_table
from pesloss.workflow import job

with job(snakemake):
    logs = Path(snakemake.log[0]).parent
    write_table(snakemake.output.cost, cost_table(logs))
    write_table(snakemake.output.notes, notes_table(logs))
