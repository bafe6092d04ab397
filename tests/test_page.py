"""The report as pages: whole, in order, escaped, and closed in itself."""

import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from pesloss.claims.advice import CARRIED, COMPARED
from pesloss.claims.decide import COLUMNS, LEFT_OUT_COLUMNS
from pesloss.claims.measures import claims_of
from pesloss.data.overview import COLUMNS as DATASET_COLUMNS
from pesloss.evaluation.tables import empty
from pesloss.job.errors import PeslossError
from pesloss.job.files import write_table, write_text
from pesloss.plan import suite as plan
from pesloss.plan.suite import Suite
from pesloss.report.cost import RECORD_COLUMNS, claim_cost
from pesloss.report.drawing import load
from pesloss.report.page.content import first_line
from pesloss.report.page.sources import page_files
from pesloss.report.page.write import Sources, write_report
from pesloss.spec.config import Ablation
from pesloss.spec.run import Run
from pesloss.spec.yaml_models import load as load_spec
from pesloss.spec.yaml_models import read_yaml

pytestmark = pytest.mark.usefixtures("titled")

ROOT = Path(__file__).parents[1]
FIGURES = ("label_against_error", "fronts")
RUNS = [Run("si_sw", "schnet", name, seed=s) for name in ("raw", "per_atom") for s in (0, 1)]
NASTY = '<b onload="x()">&"\''
VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """Tags as they open and close, ids, links, and the texts of rows."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path, self.open = path, list[str]()
        self.ids, self.links, self.loads = list[str](), list[str](), list[str]()
        self.order, self.rows = list[str](), dict[str, str]()
        self._row = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.open += [] if tag in VOID else [tag]
        if "id" in found:
            self.ids.append(found["id"])
            self.order.append(found["id"])
        self._row = found.get("id", "") if tag == "tr" else self._row
        self.links += [found["href"]] if "href" in found else []
        self.loads += [found["src"]] if "src" in found else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (self.path, self.getpos())

    def handle_data(self, data: str) -> None:
        if self._row:
            self.rows[self._row] = self.rows.get(self._row, "") + data


def _claims() -> pd.DataFrame:
    label = {"claim": "C2", "dataset": "si_sw", "statistic": "label_exponent", "estimate": 0.91234,
             "ci_low": 0.81, "ci_high": 1.02, "expected": 0.5, "margin": 0.1, "n_seeds": 1,
             "verdict": "contradicted", "n_structures": 400, "ablation": "label_exponent",
             "subject": "labels", "options": "estimator=gamma", "relation": "equals",
             "level": 0.95}  # fmt: skip
    error = {**label, "claim": "C7", "model": "schnet", "statistic": "error_exponent",
             "subject": "errors", "options": None, "ablation": "losses_by_size", "n_seeds": 2,
             "verdict": "undecided", "variant": "base", "seeds_to_decide": 7}  # fmt: skip
    rows = [
        label,
        {**label, "group": NASTY, "verdict": "undecided", "seeds_to_decide": np.nan},
        *({**error, "loss": name} for name in ("raw", "per_atom")),
        {**error, "claim": "C12", "dataset": "several", "model": None, "loss": "raw"},
        {**label, "ablation": "control_planted_one", "must_be": "contradicted"},
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _records() -> pd.DataFrame:
    rows = [
        {
            **{"run": str(run.folder), **run.columns, "seconds": 10.0, "hash_data": "d" * 64},
            **{"commit": "abcdef0123456789", "torch": "2.13"},
            **{"final_energy_rmse_ev_per_atom": 0.01, "final_force_rmse_ev_per_angstrom": 0.02},
            "repeat_with": f"snakemake --cores 1 --force results/runs/{run.folder}/record.json",
        }
        for run in RUNS
    ]
    return pd.DataFrame(rows, columns=RECORD_COLUMNS)


ABLATIONS = ("label_exponent", "losses_by_size", "control_planted_one", "control_losses")
USED = {"losses_by_size": [str(run.folder) for run in RUNS]}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a report of small tables; some of them may be changed."""

    def written(**changed: pd.DataFrame) -> Path:
        claims, records = changed.get("claims", _claims()), changed.get("records", _records())
        used = {name: USED.get(name, []) if len(records) else [] for name in ABLATIONS}
        tables = {
            "claims": claims,
            "controls": claims[claims.must_be.notna()],
            "left_out": pd.DataFrame([["a", "C1", "si_sw", "", "s", NASTY]],
                                     columns=LEFT_OUT_COLUMNS),
            "runs": empty("runs"),
            "advice": pd.DataFrame(columns=COMPARED),
            "carried_weight": pd.DataFrame(columns=CARRIED),
            "statistics": pd.DataFrame({"dataset": ["si_sw"], "species": ["Si"]}),
            "cost": pd.DataFrame([["train", 4, 50.0, 11.0, 90.0]], columns=[
                "rule", "n_jobs", "seconds", "longest_seconds", "peak_memory_mib"]),
            "claim_cost": claim_cost(records, used, {"label_exponent": ["C2"],
                                     "losses_by_size": ["C7"], "control_planted_one": ["C2"],
                                     "control_losses": ["C8"]}),
            "records": records,
            "datasets": pd.DataFrame([["si_sw", "bulk", 400, 3, 2, 16.0, 216, "Si", NASTY]],
                                     columns=list(DATASET_COLUMNS)),
            **{name: table for name, table in changed.items() if name not in ("claims", "records")},
        }  # fmt: skip
        for name, table in tables.items():
            write_table(tmp_path / "tables" / f"{name}.csv", table)
        for name in ABLATIONS:
            write_table(tmp_path / "claims" / f"{name}.csv", claims[claims.ablation == name])
        for name in FIGURES:
            write_text(tmp_path / "figures" / f"{name}.svg", "<svg/>")
            write_text(tmp_path / "figures" / f"{name}.csv", "a\n1\n")
        sources = Sources(
            tables=[tmp_path / "tables" / f"{name}.csv" for name in tables],
            figures=[tmp_path / "figures" / f"{name}.svg" for name in FIGURES],
            claims=[tmp_path / "claims" / f"{name}.csv" for name in ABLATIONS],
            ablations=[ROOT / f"config/ablations/{name}.yaml" for name in ABLATIONS],
            datasets=[ROOT / "config/datasets/si_sw.yaml"],
            captions=dict.fromkeys(FIGURES, f"What to see: {NASTY}"),
            runs=used,
            preset="smoke",
        )
        write_report(tmp_path / "report", tmp_path / "report.zip", sources)
        return tmp_path / "report"

    return written


def _pages(report: Path) -> dict[str, Page]:
    return {str(path.relative_to(report)): Page(path) for path in report.rglob("*.html")}


def test_every_page_is_well_formed_and_has_each_id_once(make: Make) -> None:
    pages = _pages(make())
    assert len(pages) == 1 + len(ABLATIONS)
    for page in pages.values():
        assert page.open == []
        assert len(page.ids) == len(set(page.ids))


def test_every_link_leads_to_a_file_and_a_place_of_the_report(make: Make) -> None:
    report = make()
    pages, n = _pages(report), 0
    for name, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            assert not parts.scheme, link
            assert not parts.netloc, link
            target = (report / name).parent / unquote(parts.path) if parts.path else report / name
            assert target.is_file(), link
            assert target.resolve().is_relative_to(report.resolve()), link
            if parts.fragment:
                assert (
                    parts.fragment in pages[str(target.resolve().relative_to(report.resolve()))].ids
                )
            n += 1
    assert n > 30


def test_nothing_is_asked_of_the_network(make: Make) -> None:
    report = make()
    for path in [*report.rglob("*.html"), *report.rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        for word in ("http:", "https:", "//", "@import", "url(", "fetch(", "XMLHttpRequest"):
            assert word not in text.replace("<!--", ""), (path, word)


def test_verdicts_come_first_then_figures_methods_cost_controls_provenance(make: Make) -> None:
    order = Page(make() / "index.html").order
    parts = ["verdicts", "row-2", "guide", "figures", "figure-label_against_error"]
    parts += ["figure-fronts", "data", "methods", "cost", "controls", "row-7", "provenance"]
    places = [order.index(part) for part in parts]
    assert places == sorted(places)


def test_every_measurement_is_there_once_with_its_number_and_what_would_decide(make: Make) -> None:
    page = Page(make() / "index.html")
    rows = [name for name in page.ids if name.startswith("row-")]
    assert sorted(rows) == [f"row-{i}" for i in range(2, 8)]
    assert "0.91 [0.81, 1.02]" in page.rows["row-2"]
    assert "0.5 ± 0.1" in page.rows["row-2"]
    assert "no number" in page.rows["row-3"]
    assert "7 seeds" in page.rows["row-4"]
    assert "400" in page.rows["row-2"]
    assert "ablations/losses_by_size.html#si_sw-schnet" in page.links
    assert "ablations/losses_by_size.html#runs" in page.links  # of several data sets


def test_texts_are_escaped(make: Make) -> None:
    report = make()
    text = (report / "index.html").read_text(encoding="utf-8")
    assert "<b onload" not in text
    assert NASTY in Page(report / "index.html").rows["row-3"]


def test_runs_are_listed_with_the_fields_of_their_records(make: Make) -> None:
    page = Page(make() / "ablations" / "losses_by_size.html")
    text = page.rows[str(RUNS[0].folder)]
    for part in ("abcdef0123", "data dddddddd", f"--force results/runs/{RUNS[0].folder}", "10.00"):
        assert part in text
    assert {str(run.folder) for run in RUNS} <= set(page.ids)


def test_reasons_of_margins_are_shown_where_they_were_given(make: Make) -> None:
    report = make()
    index = (report / "index.html").read_text("utf-8")
    for name in ABLATIONS:
        page = (report / "ablations" / f"{name}.html").read_text("utf-8")
        asked = load_spec(Ablation, ROOT / f"config/ablations/{name}.yaml")
        own = [claim.why for claim in claims_of(asked, name) if claim.why]
        assert ("<th>why</th>" in page) == bool(own), name
        for why in [*own, *([asked.why] if asked.why else [])]:
            assert str(escape(why)) in page, name
            assert str(escape(why)) in index, name


def test_corrected_verdicts_are_shown_where_there_are_some(make: Make) -> None:
    claims = _claims().assign(verdict_corrected="undecided")
    rows = Page(make(claims=claims) / "index.html").rows
    assert rows["row-2"].startswith("✘ contradicted [undecided]")
    assert rows["row-3"].startswith("? undecidedC2")  # nothing was lost


def test_labels_alone_make_a_report(make: Make) -> None:
    claims = _claims()
    none = _records().iloc[:0]
    report = make(claims=claims[claims.subject == "labels"], records=none)
    assert "no model was trained" in (report / "ablations/losses_by_size.html").read_text("utf-8")


def test_the_archive_is_the_folder_byte_for_byte_again(make: Make) -> None:
    report = make()
    archive = report.parent / "report.zip"
    before = archive.read_bytes()
    with zipfile.ZipFile(archive) as packed:
        for path in (path for path in report.rglob("*") if path.is_file()):
            assert packed.read(str(path.relative_to(report.parent))) == path.read_bytes()
    make()
    assert archive.read_bytes() == before


def test_a_cut_table_is_named_and_no_page_is_written(make: Make) -> None:
    report = make()
    (report / "index.html").unlink()
    tables = [report.parent / "tables" / "claims.csv"]
    text = tables[0].read_text(encoding="utf-8")
    tables[0].write_text(text[:-30], encoding="utf-8")
    cut = Sources(tables, [], [], [], [], {}, {}, "smoke")
    with pytest.raises(PeslossError, match=r"claims\.csv: the last line is cut off"):
        write_report(report, report.parent / "report.zip", cut)
    assert not (report / "index.html").exists()


def test_templates_are_watched() -> None:
    assert {Path(path).name for path in page_files()} >= {"index.html", "ablation.html"}


def test_every_figure_says_what_to_see_in_it() -> None:
    suite = Suite.read(read_yaml(ROOT / "config/config.yaml"), ROOT / "config")
    for name in suite.figures:
        assert len(suite.caption(name)) > 60, name
        assert suite.caption(name) == load(name).CAPTION
        assert suite.caption(name).endswith("."), name


def test_a_figure_without_a_caption_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare.py").write_text('SOURCES = ("runs.csv",)\n', encoding="utf-8")
    monkeypatch.setattr(plan, "FIGURES", tmp_path)
    suite = Suite.read(read_yaml(ROOT / "config/config.yaml"), ROOT / "config")
    with pytest.raises(PeslossError, match=r"bare\.py: CAPTION is missing"):
        suite.caption("bare")


def test_a_docstring_is_cut_to_its_first_line() -> None:
    assert first_line("One.\n\nTwo.") == "One."
    assert first_line(None) == ""
