"""Join the records of all runs; say what trainings cost by ablation and by dataset."""

from pesloss.job.files import write_table
from pesloss.job.script import job
from pesloss.report.cost import claim_cost, records_table, training_rates

with job(snakemake):
    records = records_table(f"{folder}/record.json" for folder in snakemake.params.folders)
    costs = claim_cost(records, snakemake.params.runs, snakemake.params.claims)
    write_table(snakemake.output.records, records)
    write_table(snakemake.output.claim_cost, costs)
    write_table(snakemake.output.rates, training_rates(records))
