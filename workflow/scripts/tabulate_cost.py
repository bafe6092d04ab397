"""Add up time and peak memory of all jobs by rule; collect their notes."""

from pathlib import Path

from pesloss.job.files import write_table
from pesloss.job.script import job
from pesloss.report.cost import cost_table
from pesloss.report.notes import notes_table

with job(snakemake):
    logs = Path(snakemake.log[0]).parent
    write_table(snakemake.output.cost, cost_table(logs))
    write_table(snakemake.output.notes, notes_table(logs))
