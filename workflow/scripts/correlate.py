"""Sum products of local deviations of pairs of atoms, shell by shell."""

from pathlib import Path

from pesloss.evaluation.correlation import write_products
from pesloss.workflow import job

with job(snakemake):
    write_products(
        Path(snakemake.input.shells),
        Path(snakemake.input.source),
        Path(snakemake.output.products),
    )
