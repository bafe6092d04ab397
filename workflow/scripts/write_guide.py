"""Write the page for practitioners."""

from pathlib import Path

from pesloss.files import read_table, write_text
from pesloss.guide import guide
from pesloss.workflow import job

with job(snakemake):
    names = ("claims", "runs", "statistics")
    main = [read_table(snakemake.input[name]) for name in names]
    more = {Path(path).stem: read_table(path) for path in snakemake.input.more}
    write_text(snakemake.output.guide, guide(*main, more))
