"""The report in a real browser: filters, sorting, narrow screens, nothing on the console."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_page import Make, make

__all__ = ["make"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
    "--virtual-time-budget=8000",
    "--dump-dom",
]
DRIVER = """<!DOCTYPE html><meta charset="utf-8">
<iframe id="f" src="{page}" style="width:{width}px;height:900px;border:0"></iframe>
<pre id="found"></pre>
<script>
document.getElementById("f").addEventListener("load", function () {{
  var doc = document.getElementById("f").contentDocument, win = doc.defaultView;
  function rows() {{
    return Array.from(doc.querySelectorAll("#measurements tbody tr")).filter(r => !r.hidden);
  }}
  function set(id, value) {{
    var input = doc.getElementById(id);
    input.value = value;
    input.dispatchEvent(new win.Event("input"));
  }}
  function first(column) {{ return rows().map(r => r.cells[column].textContent.trim()); }}
  var found = {{all: rows().length, wide: doc.documentElement.scrollWidth - win.innerWidth}};
  var verdict = doc.querySelector("#measurements tbody td").getBoundingClientRect();
  found.verdict_right = verdict.right - win.innerWidth;
  set("by-claim", "C7"); found.c7 = first(1);
  set("by-claim", ""); set("by-verdict", "contradicted"); found.contradicted = first(0);
  set("by-verdict", ""); set("by-words", "no such words"); found.none = rows().length;
  found.shown = doc.getElementById("shown").textContent;
  set("by-words", "");
  doc.querySelectorAll("#measurements th")[1].click(); found.up = first(1);
  doc.querySelectorAll("#measurements th")[1].click(); found.down = first(1);
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>
"""


def seen(report: Path, width: int) -> tuple[dict[str, Any], list[str]]:
    """Return what the driver measured on the first page, and the lines of the console."""
    driver = report / "driver.html"
    driver.write_text(DRIVER.format(page="index.html", width=width), encoding="utf-8")
    profile = report.parent / "profile"
    words = [
        str(CHROMIUM),
        *QUIET,
        f"--user-data-dir={profile}",
        f"--window-size={width + 20},1000",
    ]
    done = subprocess.run(
        [*words, driver.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(match.group(1)), console


@pytest.mark.parametrize("width", [1300, 400])
def test_the_first_page_works(make: Make, width: int) -> None:
    found, console = seen(make(), width)
    assert console == []
    assert found["wide"] <= 0, "the page is wider than the screen"
    assert found["verdict_right"] < 0, "the verdict is beyond the edge"
    assert found["all"] == 5
    assert found["c7"] == ["C7", "C7"]
    assert found["contradicted"] == ["✘ contradicted"]
    assert (found["none"], found["shown"]) == (0, "0 rows")
    assert found["up"] == ["C12", "C2", "C2", "C7", "C7"]
    assert found["down"] == ["C7", "C7", "C2", "C2", "C12"]
