"""Draw one figure from tables alone."""

from pesloss.drawing import draw_figure
from pesloss.workflow import job

with job(snakemake):
    draw_figure(snakemake.wildcards.figure, snakemake.input.tables, dict(snakemake.output.items()))
