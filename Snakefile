# The workflow lives in workflow/Snakefile; this lets `snakemake --cores N` find it from here.
from snakemake.logging import logger

from pesloss.job.failures import say_failed_jobs


module suite:
    snakefile:
        "workflow/Snakefile"


use rule * from suite


onerror:
    say_failed_jobs(logger)
