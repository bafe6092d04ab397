"""Write the page for practitioners."""

from pesloss.job.files import read_table, write_text
from pesloss.job.script import job
from pesloss.report.guide import guide
from pesloss.report.wording import called
from pesloss.spec.names import Names

with job(snakemake), called(Names.of(snakemake.params.names)):
    names = ("claims", "compared", "carried")
    write_text(snakemake.output.guide, guide(*(read_table(snakemake.input[n]) for n in names)))
