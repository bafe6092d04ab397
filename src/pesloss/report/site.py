"""Pages of the documentation that are written from the reference results when it is built."""

import os
from pathlib import Path

from pesloss.job.code_digest import constants
from pesloss.job.files import read_json, read_table, write_text
from pesloss.report.exponents import exponent_table
from pesloss.report.glance import answered, answers, claim_table, data_table
from pesloss.report.reference import in_short, source_line
from pesloss.report.verdicts import run_times
from pesloss.report.wording import called
from pesloss.spec.config_files import read_names


def write_pages(project: Path, folder: Path) -> None:
    """Write ``answers.md``, ``claims.md`` and ``gallery.md`` into ``folder``.

    Parameters
    ----------
    project
        The checkout; its ``results/reference`` is read, and titles in its ``config``.
    folder
        Below ``docs``; pages include what is written there.
    """
    reference = project / "results" / "reference"
    pages = {"answers": answers_page, "claims": claims_page}
    with called(read_names(project / "config")):
        for name, page in pages.items():
            write_text(folder / f"{name}.md", page(reference))
    images = os.path.relpath(reference / "figures", folder)
    write_text(folder / "gallery.md", gallery_page(reference / "figures", images))


def answers_page(reference: Path) -> str:
    """Write the three sentences of the README, and where they come from."""
    tables = reference / "tables"
    origin = read_json(reference / "origin.json", ("preset", "commits_of_runs", "n_runs"))
    said = answers(
        read_table(tables / "claims.csv", ("claim",)),
        read_table(tables / "datasets.csv", ("dataset", "matter")),
        in_short(tables / "guide.md"),
        origin["n_runs"],
    )
    return f"{answered(said)}\n\n{source_line(origin)}\n"


def claims_page(reference: Path) -> str:
    """Write every table of verdicts: claims at a glance, exponents, guide, data, all rows, cost."""
    tables = reference / "tables"
    claims = read_table(tables / "claims.csv", ("claim",))
    datasets = read_table(tables / "datasets.csv", ("dataset", "matter"))
    best = tables / "best_exponent.csv"
    exact = read_table(best, ("dataset", "best_p_variance")) if best.is_file() else None
    guide = tables / "guide.md"
    verdicts = (tables / "verdicts.md").read_text(encoding="utf-8")
    parts = {
        "The claims at a glance": claim_table(claims, datasets),
        "Growth with size": exponent_table(claims, exact),
        "Advice": guide.read_text(encoding="utf-8") if guide.is_file() else "Not decided here.\n",
        "The data": data_table(datasets),
        "All claims": verdicts,
        "What it cost": run_times(read_table(tables / "cost.csv", ("rule", "seconds"))),
    }
    sections = [f"## {title}\n\n{text}" for title, text in parts.items()]
    return "\n\n".join(["# What was decided", *sections]) + "\n"


def gallery_page(drawn: Path, images: str) -> str:
    """Write one entry a figure: what is to be seen, the image where it is kept, its command.

    Parameters
    ----------
    drawn
        Folder of the reference's figures.
    images
        The same, as seen from the page.
    """
    entries = [
        "# Figures\n\nEach is drawn again, without a training, by the command below it. Some are "
        "not kept with the reference; the command makes them."
    ]
    for file in sorted((Path(__file__).parent / "figures").glob("[!_]*.py")):
        found = constants(file)
        image = drawn / f"{file.stem}.png"
        title = file.stem.replace("_", " ").capitalize()
        shown = f"![{title}]({images}/{image.name})\n\n" if image.is_file() else ""
        command = f"    snakemake --cores 2 results/figures/{file.stem}.svg"
        entries.append(f"## {title}\n\n{found['CAPTION']}\n\n{shown}{command}")
    return "\n\n".join(entries) + "\n"
