"""Fit the moments of local energies and forces on the training split."""

from pesloss.data.store import read_structures
from pesloss.job.files import read_table
from pesloss.job.script import job
from pesloss.statistics.fit import compared_with_references, fit_statistics

KEY = ("structure",)

with job(snakemake) as running:
    table = read_table(snakemake.input.table, ("group", "n_atoms", "energy"), unique=KEY)
    splits = read_table(snakemake.input.splits, ("split",), unique=KEY)
    structures = [a for path in snakemake.input.structures for a in read_structures(path)]
    fitted = fit_statistics(snakemake.wildcards.dataset, table, splits, structures)
    fitted.write(snakemake.output.statistics)
    for line in compared_with_references(fitted, structures):
        running.note(line)
