"""Draw a dataset that has compositions and energies but no geometry."""

from pesloss.data.generate import draw
from pesloss.data.spec import ANY_PRESET, DatasetSpec
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake):
    spec = DatasetSpec.of_settings(snakemake.params.dataset)
    write_table(snakemake.output.table, draw(spec, ANY_PRESET))
