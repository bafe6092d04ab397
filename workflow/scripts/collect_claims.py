"""Join the verdicts of all ablations."""

from pesloss.claims.collect import collect_claims
from pesloss.job.files import write_table
from pesloss.job.script import job

with job(snakemake):
    write_table(snakemake.output.claims, collect_claims(snakemake.input.claims))
    write_table(snakemake.output.left_out, collect_claims(snakemake.input.left_out))
