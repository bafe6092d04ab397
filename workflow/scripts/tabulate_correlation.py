"""Join the correlations of labels and errors, and the exponents that follow from them."""

from pathlib import Path

from pesloss.claims.correlation_tables import correlation_tables
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake) as running:
    tables = correlation_tables(
        [Path(path).parent for path in snakemake.input.labels],
        [Path(folder) for folder in snakemake.params.runs],
        snakemake.params.n_resamples,
        running.watch,
    )
    for name, path in snakemake.output.items():
        write_table(path, tables[name])
