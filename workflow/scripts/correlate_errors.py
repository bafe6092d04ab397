"""Sum products of the local energy errors of pairs of atoms, shell by shell."""

from pathlib import Path

from pesloss.evaluation.correlation import write_error_products
from pesloss.job.script import job

with job(snakemake):
    write_error_products(
        Path(snakemake.input.shells),
        Path(snakemake.output.products).with_name("atoms.csv.gz"),
        Path(snakemake.output.products),
        Path(snakemake.output.manifest),
    )
