"""Generate one part of a dataset."""

from pesloss.data.generate import failure_table, generate_part
from pesloss.data.spec import ANY_PRESET, DatasetSpec
from pesloss.data.store import write_structures
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake) as running:
    spec = DatasetSpec.of_settings(snakemake.params.dataset)
    structures, failures = generate_part(
        spec,
        ANY_PRESET,
        int(snakemake.wildcards.part),
        snakemake.params.n_parts,
        running.progress,
    )
    write_structures(snakemake.output.structures, structures, spec.described())
    write_table(snakemake.output.failures, failure_table(failures))
