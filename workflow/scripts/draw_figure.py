"""Draw one figure from tables alone."""

from pesloss.job.script import job
from pesloss.report.drawing import draw_figure
from pesloss.report.wording import called
from pesloss.spec.names import Names

with job(snakemake), called(Names.of(snakemake.params.names)):
    draw_figure(snakemake.wildcards.figure, snakemake.input.tables, dict(snakemake.output.items()))
