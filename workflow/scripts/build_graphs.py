"""Compute the neighbour lists of a dataset."""

from pesloss.data.graphs import build_graphs
from pesloss.data.store import read_structures
from pesloss.job.script import job

with job(snakemake) as running:
    structures = read_structures(snakemake.input.structures)
    graphs = build_graphs(structures, float(snakemake.wildcards.cutoff), running.watch)
    graphs.write(snakemake.output.graphs)
