"""Take a part of another dataset's structures."""

from pesloss.data.kinds.subset import choose
from pesloss.data.spec import DatasetSpec
from pesloss.data.store import read_structures, structure_table, write_structures
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake) as running:
    spec = DatasetSpec.of_settings(snakemake.params.dataset)
    structures = read_structures(snakemake.input.structures)
    chosen, left_out = choose(
        spec.parsed_recipe(), structures, f"config/datasets/{snakemake.wildcards.dataset}.yaml"
    )
    running.say(f"{len(chosen)} of {len(structures)} structures taken")
    write_structures(snakemake.output.structures, chosen, spec.described())
    write_table(snakemake.output.table, structure_table(chosen))
    write_table(snakemake.output.failures, left_out)
