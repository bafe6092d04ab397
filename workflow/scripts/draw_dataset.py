"""Draw a dataset that has compositions and energies but no geometry."""

from pesloss.data.generate import draw
from pesloss.data.spec import load_dataset_spec
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake):
    spec = load_dataset_spec(snakemake.input.spec)
    write_table(snakemake.output.table, draw(spec, snakemake.params.preset))
