"""The files a rule watches are the files its result depends on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pesloss.job.code_digest import PACKAGE, _closure, code_digest


def code_of(*modules: str) -> list[str]:
    """The files that modules import inside the package, themselves included."""
    return sorted(map(str, _closure(modules).values()))


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
    assert {"training/loop.py", "model/potential.py", "losses/base.py", "spec/settings.py"} <= found
    for unused in ("claims", "report", "evaluation", "plan", "benchmarks", "linear"):
        assert not [name for name in found if name.split("/")[0].removesuffix(".py") == unused]


def test_a_loss_watches_itself_and_its_base_but_no_other_loss() -> None:
    found = inside(code_of("pesloss.losses.energy.raw"))
    assert {"losses/energy/raw.py", "losses/base.py"} <= found
    assert "losses/energy/sqrt_n.py" not in found


def test_foreign_modules_are_not_watched() -> None:
    assert code_of("numpy", "pesloss.does_not_exist") == []


class Copy:
    """A copy of the package that is edited and asked for digests."""

    def __init__(self, folder: Path) -> None:
        self.package = shutil.copytree(PACKAGE, folder / "pesloss")

    def digests(self, *modules: str) -> list[str]:
        return self._asked("print(*map(code_digest, sys.argv[1:]))", *modules)

    def shown(self, folder: str = "losses/energy") -> list[str]:
        return self._asked(f"print(presentation_digest({folder!r}))")

    def _asked(self, what: str, *modules: str) -> list[str]:
        command = f"import sys; from pesloss.job.code_digest import *; {what}"
        path = {**os.environ, "PYTHONPATH": str(self.package.parent)}
        words = [sys.executable, "-c", command, *modules]
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=path)
        return done.stdout.split()

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.package / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def move(self, old: str, new: str) -> None:
        """Rename a module and what its importers call it."""
        source, target = (self.package.joinpath(*m.split(".")[1:]) for m in (old, new))
        target.parent.mkdir(exist_ok=True)
        if not (target.parent / "__init__.py").exists():
            (target.parent / "__init__.py").write_text('"""New."""\n', encoding="utf-8")
        source.with_suffix(".py").rename(target.with_suffix(".py"))
        for path in self.package.rglob("*.py"):
            text = path.read_text(encoding="utf-8").replace(old, new)
            path.write_text(text, encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


RAW, SQRT_N = "pesloss.losses.energy.raw", "pesloss.losses.energy.sqrt_n"


def test_the_digest_follows_what_is_compiled_but_for_its_comments(copy: Copy) -> None:
    job, source = "pesloss.training.job", "training/compiled_step_end.c"
    before = copy.digests(job)
    copy.replace(source, "/* --- losses */", "/* --- what is minimised,\n * and how */")
    assert copy.digests(job) == before
    copy.replace("training/compiled_step.c", "#define TILE 48", "#define TILE 24")
    assert copy.digests(job) != before


def test_the_digest_follows_what_is_imported_and_nothing_else(copy: Copy) -> None:
    before = copy.digests(RAW, SQRT_N)
    copy.replace("losses/energy/sqrt_n.py", "exponent = 1", "exponent = 1.5")
    after = copy.digests(RAW, SQRT_N)
    assert after[0] == before[0]
    assert after[1] != before[1]
    copy.replace("losses/base.py", "class PowerLoss", "assert PowerLoss\n\n\nclass PowerLoss")
    assert not set(copy.digests(RAW, SQRT_N)) & set(after)


def test_explaining_and_moving_code_is_no_change(copy: Copy) -> None:
    jobs = ("pesloss.training.job", "pesloss.claims.job", "pesloss.data.external")
    before = copy.digests(*jobs)
    for path in copy.package.rglob("*.py"):
        text = (
            path.read_text(encoding="utf-8")
            .replace('"""', '"""Indeed: ')
            .replace("Indeed: \n", "\n")
        )
        path.write_text(f"{text}\n# a comment\n", encoding="utf-8")
    copy.move("pesloss.job.errors", "pesloss.job.mistakes")
    copy.move("pesloss.model.batches", "pesloss.model.minibatches")
    assert copy.digests(*jobs) == before


def test_how_a_loss_is_shown_retrains_nothing_and_redraws_all(copy: Copy) -> None:
    before, shown = copy.digests(RAW), copy.shown()
    copy.replace("losses/energy/raw.py", "#D55E00", "#000000")
    copy.replace("losses/energy/raw.py", 'TITLE = "raw"', 'TITLE = "total"')
    assert copy.digests(RAW) == before
    assert copy.shown() != shown


@pytest.mark.parametrize(
    ("old", "new"),
    [('TITLE = "exponent"', 'TITLE = "power"'), ('"(line)"', '"(by a line)"'), ("½ is", "Half is")],
)
def test_the_words_of_a_statistic_decide_nothing_anew_and_redraw_all(
    copy: Copy, old: str, new: str
) -> None:
    file, folder = "claims/measures/label_exponent.py", "claims/measures"
    before, shown = copy.digests("pesloss.claims.measures.label_exponent"), copy.shown(folder)
    copy.replace(file, old, new)
    assert copy.digests("pesloss.claims.measures.label_exponent") == before
    assert copy.shown(folder) != shown


def test_what_a_statistic_expects_decides_anew(copy: Copy) -> None:
    entry = "pesloss.claims.measures.label_exponent"
    for old, new in (("EXPECTED = 0.5", "EXPECTED = 0.6"), ("MARGIN = 0.1", "MARGIN = 0.2")):
        before = copy.digests(entry)
        copy.replace("claims/measures/label_exponent.py", old, new)
        assert copy.digests(entry) != before


def test_the_same_name_from_another_file_is_a_change(copy: Copy) -> None:
    entry = "pesloss.chooser"
    (copy.package / "chooser.py").write_text(
        f"from {RAW} import Loss\nfrom {SQRT_N} import Loss as Other\n", encoding="utf-8"
    )
    before = copy.digests(entry)
    (copy.package / "chooser.py").write_text(
        f"from {SQRT_N} import Loss\nfrom {RAW} import Loss as Other\n", encoding="utf-8"
    )
    assert copy.digests(entry) != before


def test_the_order_of_what_is_asked_for_counts(copy: Copy) -> None:
    assert copy.package.exists()
    assert code_digest(RAW, SQRT_N) != code_digest(SQRT_N, RAW)
