"""The files a rule watches are the files its result depends on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pesloss.closure import PACKAGE, code_of

PRINT_FILES = """
import importlib, sys
importlib.import_module(sys.argv[1])
for name, module in sorted(sys.modules.items()):
    if name.split(".")[0] == "pesloss":
        print(module.__file__)
"""

ENTRIES = (
    "pesloss.training.job",
    "pesloss.statistics.fit",
    "pesloss.claims.job",
    "pesloss.evaluation.tables",
)


def inside(files: list[str]) -> set[str]:
    return {str(Path(file).resolve().relative_to(PACKAGE)) for file in files}


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_imported_is_watched(entry: str) -> None:
    command = [sys.executable, "-c", PRINT_FILES, entry]
    path = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=path)
    assert inside(done.stdout.split()) <= inside(code_of(entry))


def test_a_training_does_not_watch_what_it_does_not_use() -> None:
    found = inside(code_of("pesloss.training.job"))
    assert {"training/loop.py", "models.py", "losses/base.py", "settings.py"} <= found
    for unused in ("claims", "figures", "drawing", "report", "statistics", "evaluation", "plan"):
        assert not [name for name in found if name.split("/")[0].removesuffix(".py") == unused]


def test_a_loss_watches_itself_and_its_base_but_no_other_loss() -> None:
    found = inside(code_of("pesloss.losses.energy.raw"))
    assert {"losses/energy/raw.py", "losses/base.py"} <= found
    assert "losses/energy/sqrt_n.py" not in found


def test_foreign_modules_are_not_watched() -> None:
    assert code_of("numpy", "pesloss.does_not_exist") == []


def test_the_digest_follows_what_is_imported_and_nothing_else(tmp_path: Path) -> None:
    package = shutil.copytree(PACKAGE, tmp_path / "pesloss")

    def digest(module: str) -> str:
        command = f"from pesloss.closure import code_digest; print(code_digest({module!r}))"
        path = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", command], capture_output=True, text=True, check=True, env=path
        )
        return done.stdout

    before = digest("pesloss.losses.energy.raw"), digest("pesloss.losses.energy.sqrt_n")
    file = package / "losses" / "energy" / "sqrt_n.py"
    file.write_text(file.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    after = digest("pesloss.losses.energy.raw"), digest("pesloss.losses.energy.sqrt_n")
    assert after[0] == before[0]
    assert after[1] != before[1]
