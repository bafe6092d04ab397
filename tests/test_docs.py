"""The pages tell the truth: their snippets run, their links lead somewhere, the site builds."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch
from conftest import Tiny

from pesloss.__main__ import main

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/trainers/*.md")])
BLOCK = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(((?!https?:|mailto:)[^)#\s]+)(?:#[^)]*)?\)")
needs_sphinx = pytest.mark.skipif(
    importlib.util.find_spec("sphinx") is None, reason="`make docs` installs sphinx"
)


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    yield from BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_to_files(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_snippets_are_python_that_imports_what_is_there(page: Path) -> None:
    for kind, text in blocks(page):
        if kind != "python":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pesloss."):
                found = importlib.util.find_spec(node.module or "")
                assert found is not None, node.module


def run(page: Path, namespace: dict[str, object]) -> None:
    """Run the blocks of a page one after the other, in one namespace and the working folder."""
    for kind, text in blocks(page):
        if kind == "python":
            exec(compile(text, str(page), "exec"), namespace)
        else:
            for line in text.splitlines():
                words = shlex.split(line.removeprefix("$ "))
                assert words[0] == "pesloss", line
                assert main(words[1:]) == 0, line


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs/tutorial.md", {})
    assert (tmp_path / "weighted.xyz").is_file()


def labelled(tiny: Tiny) -> dict[str, object]:
    """What a trainer has at hand, under the names that the pages use."""
    structures = tiny.structures
    counts = tiny.table[tiny.statistics.count_columns].to_numpy(float)
    forces = np.concatenate([a.get_forces() for a in structures])
    owner = np.repeat(np.arange(len(structures)), [len(a) for a in structures])
    energy = np.array([a.get_potential_energy() for a in structures])
    return {
        "training_structures": structures,
        "composition": np.pad(counts, ((0, 0), (0, 1))),
        "energy": torch.tensor(energy),
        "target_energy": torch.tensor(energy) + 0.1,
        "forces": torch.tensor(forces),
        "target_forces": torch.tensor(forces) + 0.1,
        "numbers": torch.tensor(np.concatenate([a.numbers for a in structures])),
        "owner": torch.tensor(owner),
        "structure": owner,
    }


def test_the_example_of_the_readme_runs(tiny: Tiny) -> None:
    namespace = labelled(tiny)
    run(ROOT / "README.md", namespace)
    assert float(namespace["value"]) > 0  # type: ignore[arg-type]


class Links(HTMLParser):
    """All links and ids of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {found[key] or "" for key in ("id", "name") if key in found}
        self.links += [found[key] or "" for key in ("href", "src") if key in found]


@needs_sphinx
def test_the_site_builds_without_a_warning_and_has_no_dead_link(tmp_path: Path) -> None:
    site = tmp_path / "site"
    words = [
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "-q",
        str(ROOT / "docs"),
        str(site),
    ]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.resolve(): Links(path) for path in site.rglob("*.html")}
    assert len(pages) > len(PAGES) - 5
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not link:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), (path, link)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, (path, link)
