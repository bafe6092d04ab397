"""Write the folder of the report and its archive: pages, and every file they link to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pesloss.claims.collect import with_corrected_verdicts, with_texts
from pesloss.job.files import read_table, write_text, write_zip, written_whole
from pesloss.report import wording
from pesloss.report.exponents import PRIMARY, primary_rows
from pesloss.report.glance import answers
from pesloss.report.guide import sections
from pesloss.report.page import content
from pesloss.report.page.sources import TEMPLATES
from pesloss.report.verdicts import duration
from pesloss.spec.config import Ablation
from pesloss.spec.yaml_models import load


@dataclass(frozen=True)
class Sources:
    """Files the report is made from, and what is known beside them."""

    tables: Sequence[Path]
    """Those of `pesloss.report.page.sources.TABLES`."""
    figures: Sequence[Path]
    """SVG files; the CSV of the same name lies beside each."""
    claims: Sequence[Path]
    """One table an ablation."""
    ablations: Sequence[Path]
    datasets: Sequence[Path]
    captions: Mapping[str, str]
    runs: Mapping[str, Sequence[str]]
    """Folders of the runs of each ablation."""
    preset: str


def write_report(folder: Path, archive: Path, sources: Sources) -> None:
    """Write ``index.html``, a page an ablation, copies of the sources, and all of it as a ZIP.

    Links lead to files of the folder alone, so it can be moved, sent and opened without a
    network.

    Raises
    ------
    PeslossError
        When a table is missing, truncated or lacks a column.
    """
    tables = {path.name: read_table(path) for path in sources.tables}
    ablations = {path.stem: load(Ablation, path) for path in sources.ablations}
    held = content.known([path.stem for path in sources.datasets], tables["records.csv"])
    pages = _environment()
    _copy(folder, sources)
    for asked in content.methods(ablations, held):
        name = asked["name"]
        groups = content.run_groups(tables["records.csv"], sources.runs.get(name, ()))
        text = pages.get_template("ablation.html").render(asked=asked, groups=groups)
        write_text(folder / "ablations" / f"{name}.html", text)
    text = pages.get_template("index.html").render(**_index(tables, ablations, sources, held))
    write_text(folder / "index.html", text)
    _pack(folder, archive)


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _index(
    tables: Mapping[str, pd.DataFrame],
    ablations: Mapping[str, Ablation],
    sources: Sources,
    held: content.Known,
) -> dict[str, Any]:
    every = with_texts(tables["claims.csv"])
    claims, controls = every[every.must_be == ""], every[every.must_be != ""]
    costs, jobs, left_out = (tables[f"{n}.csv"] for n in ("claim_cost", "cost", "left_out"))
    guide = sections(every, tables["advice.csv"], tables["carried_weight.csv"])
    advice = "\n\n".join(guide[0].paragraphs)
    figures = [
        {
            "name": path.stem,
            "title": wording.FIGURES.get(path.stem, path.stem),
            "caption": sources.captions[path.stem],
        }
        for path in sources.figures
    ]
    return {
        "answers": answers(every, tables["datasets.csv"], advice, len(tables["records.csv"])),
        "growth_heads": PRIMARY[:-1],  # best p is of ablations that a suite may lack
        "growth": [row[:-1] for row in primary_rows(every, tables["datasets.csv"])],
        "claim_ids": content.claim_ids(claims),
        "claims": content.claim_rows(with_corrected_verdicts(claims), costs),
        "verdicts": content.verdict_rows(claims, held),
        "data": content.data_rows(tables["datasets.csv"], held),
        "guide": guide,
        "figures": sorted(figures, key=lambda figure: figure["name"] != "label_against_error"),
        "methods": content.methods(ablations, held),
        "costs": content.cost_rows(costs),
        "training_time": duration(float(costs.seconds.sum())),
        "jobs": content.table_rows(jobs),
        "job_time": duration(float(jobs.seconds.sum())),
        "controls": content.verdict_rows(controls, held),
        "left_out": content.table_rows(left_out),
        "left_out_heads": list(left_out.columns),
        "provenance": content.provenance(tables["records.csv"], sources.preset),
        "files": sorted(tables),
    }


def _copy(folder: Path, sources: Sources) -> None:
    drawn = [path.with_suffix(suffix) for path in sources.figures for suffix in (".svg", ".csv")]
    kept = {
        "tables": sources.tables,
        "figures": drawn,
        "claims": sources.claims,
        "ablations": sources.ablations,
        "datasets": sources.datasets,
    }
    for name, paths in kept.items():
        for path in paths:
            with written_whole(folder / name / path.name) as scratch:
                scratch.write_bytes(path.read_bytes())


def _pack(folder: Path, archive: Path) -> None:
    """Put the folder into a ZIP, byte for byte repeatable."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
    write_zip(archive, files, folder.parent)
