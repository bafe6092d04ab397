"""Sum products of the local energies of pairs of atoms, shell by shell."""

from pathlib import Path

from pesloss.evaluation.correlation import write_label_products
from pesloss.job.script import job

with job(snakemake):
    write_label_products(
        Path(snakemake.input.shells),
        Path(snakemake.input.statistics),
        Path(snakemake.output.products),
    )
