"""Sort the pairs of atoms of held-out structures into shells of distance."""

from pesloss.data.store import read_structures
from pesloss.evaluation.correlation import write_pair_shells
from pesloss.job.script import job

with job(snakemake) as running:
    write_pair_shells(
        read_structures(snakemake.input.structures),
        snakemake.input.splits,
        snakemake.output.shells,
        running.watch,
    )
