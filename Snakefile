# The workflow lives in workflow/Snakefile; this lets `snakemake --cores N` find it from here.
module suite:
    snakefile:
        "workflow/Snakefile"


use rule * from suite
