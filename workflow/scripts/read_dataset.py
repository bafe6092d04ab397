"""Make a dataset of foreign files."""

from pesloss.data.external import read_dataset, sources_of
from pesloss.data.spec import ANY_PRESET, DatasetSpec
from pesloss.data.store import structure_table, write_structures
from pesloss.job.files import write_table
from pesloss.job.progress import reporting
from pesloss.job.script import job

with job(snakemake) as running, reporting(running.label, of_bytes=True) as report:
    spec = DatasetSpec.of_settings(snakemake.params.dataset)
    sources = sources_of(snakemake.config)
    made = read_dataset(spec, ANY_PRESET, sources, running.say, report)
    write_structures(snakemake.output.structures, made.structures, made.described(spec))
    write_table(snakemake.output.table, structure_table(made.structures))
    write_table(snakemake.output.failures, made.left_out)
    for line in made.notes:
        running.note(line)
