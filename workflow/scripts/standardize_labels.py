"""Put energies and forces into standardised units."""

from pesloss.data.store import read_structures
from pesloss.job.files import read_table, write_table
from pesloss.job.script import job
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.statistics.labels import force_histogram, force_label_table, label_table

with job(snakemake):
    statistics = DatasetStatistics.read(snakemake.input.statistics, snakemake.wildcards.dataset)
    table = read_table(snakemake.input.table, ("energy",), unique=("structure",))
    splits = read_table(snakemake.input.splits, ("split",), unique=("structure",))
    structures = [a for path in snakemake.input.structures for a in read_structures(path)]
    write_table(snakemake.output.labels, label_table(table, splits, statistics))
    write_table(snakemake.output.force_labels, force_label_table(structures, statistics))
    write_table(snakemake.output.force_histogram, force_histogram(structures, statistics))
