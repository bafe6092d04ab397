"""Measure the statistics of an ablation's claims and decide them."""

from pathlib import Path

from pesloss.claims.job import decide_from_files
from pesloss.job.files import write_table
from pesloss.job.script import job
from pesloss.spec.config import Ablation

with job(snakemake):
    claims, left_out = decide_from_files(
        snakemake.wildcards.ablation,
        Ablation.of_settings(snakemake.params.ablation),
        [Path(path) for path in snakemake.input.labels],
        [Path(folder) / "record.json" for folder in snakemake.params.runs],
        snakemake.params.n_resamples,
    )
    write_table(snakemake.output.claims, claims)
    write_table(snakemake.output.left_out, left_out)
