"""Write the page for practitioners."""

from pesloss.files import read_table, write_text
from pesloss.guide import guide
from pesloss.workflow import job

with job(snakemake):
    names = ("claims", "compared", "carried")
    write_text(snakemake.output.guide, guide(*(read_table(snakemake.input[n]) for n in names)))
