"""Join the parts of a dataset with geometry."""

from pesloss.data.generate import collect
from pesloss.data.spec import ANY_PRESET, DatasetSpec
from pesloss.data.store import read_structures, structure_table, write_structures
from pesloss.job.files import read_table, write_table
from pesloss.job.script import job

with job(snakemake) as running:
    spec = DatasetSpec.of_settings(snakemake.params.dataset)
    parts = [read_structures(path, may_be_empty=True) for path in snakemake.input.structures]
    failures = [read_table(path, ("structure", "reason")) for path in snakemake.input.failures]
    structures, failed = collect(spec, ANY_PRESET, parts, failures)
    running.log.write(f"{len(structures)} structures, {len(failed)} failed\n")
    write_structures(snakemake.output.structures, structures, spec.described())
    write_table(snakemake.output.table, structure_table(structures))
    write_table(snakemake.output.failures, failed)
