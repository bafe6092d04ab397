"""Fail when a control does not come out as it must."""

from pesloss.claims.decide import COLUMNS, check_controls
from pesloss.job.files import read_table, write_table
from pesloss.job.script import job

with job(snakemake):
    controls = check_controls(read_table(snakemake.input.claims, COLUMNS))
    write_table(snakemake.output.controls, controls)
