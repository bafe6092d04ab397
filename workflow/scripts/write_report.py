"""Write the report that opens offline."""

from pathlib import Path

from pesloss.job.script import job
from pesloss.report.page.write import Sources, write_report
from pesloss.report.wording import called
from pesloss.spec.names import Names

with job(snakemake), called(Names.of(snakemake.params.names)):
    given = {
        name: [Path(path) for path in snakemake.input[name]]
        for name in ("figures", "claims", "ablations", "datasets")
    }
    tables = [Path(path) for path in snakemake.input.tables]
    stated = {name: snakemake.params[name] for name in ("captions", "runs", "preset")}
    sources = Sources(tables=tables, **given, **stated)
    write_report(Path(snakemake.output.folder), Path(snakemake.output.archive), sources)
