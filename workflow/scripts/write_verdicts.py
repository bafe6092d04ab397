"""Write the table of verdicts that the README shows."""

from pesloss.claims.decide import COLUMNS
from pesloss.files import read_table, write_text
from pesloss.report import verdict_table
from pesloss.workflow import job

with job(snakemake):
    claims = read_table(snakemake.input.claims, COLUMNS)
    write_text(snakemake.output.verdicts, verdict_table(claims))
