"""Draw one figure from tables alone."""

from pesloss.job.script import job
from pesloss.report.drawing import draw_figure

with job(snakemake):
    draw_figure(snakemake.wildcards.figure, snakemake.input.tables, dict(snakemake.output.items()))
