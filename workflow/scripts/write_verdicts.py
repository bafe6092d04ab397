"""Write the table of verdicts that the README shows."""

from pesloss.claims.decide import COLUMNS
from pesloss.job.files import read_table, write_text
from pesloss.job.script import job
from pesloss.report.verdicts import verdict_table
from pesloss.report.wording import called
from pesloss.spec.names import Names

with job(snakemake), called(Names.of(snakemake.params.names)):
    claims = read_table(snakemake.input.claims, COLUMNS)
    write_text(snakemake.output.verdicts, verdict_table(claims))
