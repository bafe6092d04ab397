"""Deal the families of a dataset to training, validation and test."""

from pesloss.data.generate import generator
from pesloss.data.splits import split
from pesloss.job.files import read_table, write_table
from pesloss.job.script import job

with job(snakemake):
    table = read_table(snakemake.input.table, ("group", "n_atoms"), unique=("structure",))
    rng = generator(snakemake.params.seed, "split")
    splits = split(table, snakemake.params.fractions, rng, snakemake.wildcards.dataset)
    write_table(snakemake.output.splits, splits)
