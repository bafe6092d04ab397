"""Style, types, pins, and the making of the environment."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
PINS = ["requirements.txt", *sorted(path.name for path in ROOT.glob("constraints*.txt"))]
SCHNETPACK = re.findall(
    r"schnetpack==[0-9.]+[0-9]", (ROOT / "Makefile").read_text(encoding="utf-8")
)
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        ["mypy"],
        ["snakefmt", "--check", "Snakefile", "workflow"],
        ["snakemake", "--lint"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_tool_has_nothing_to_say(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def pins(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def name_of(pin: str) -> str:
    return canonicalize_name(Requirement(pin).name)


def test_extras_are_the_pins_of_the_workflow() -> None:
    """`pip install pesloss[suite,dev]` is what `make` installs, SchNetPack aside."""
    extras = PROJECT["optional-dependencies"]
    assert [*extras["suite"], *extras["dev"]] == pins("requirements.txt")


def test_what_the_library_needs_is_pinned_for_the_workflow_within_its_bounds() -> None:
    pinned = {name_of(pin): Requirement(pin).specifier for pin in pins("requirements.txt")}
    for line in PROJECT["dependencies"]:
        (pin,) = pinned[name_of(line)]
        assert Requirement(line).specifier.contains(pin.version), line


def test_the_package_is_built_with_the_pinned_tool() -> None:
    (tool,) = PYPROJECT["build-system"]["requires"]
    assert tool in pins("requirements.txt")


def test_nothing_is_pinned_twice() -> None:
    names = [name_of(pin) for file in PINS for pin in pins(file)]
    assert len(names) == len(set(names))


def test_every_installed_distribution_is_pinned_and_at_its_pin() -> None:
    """Else another machine gets another release, and nobody sees it."""
    extras = [pin for extra in PROJECT["optional-dependencies"].values() for pin in extra]
    allowed = {
        name_of(pin): Requirement(pin).specifier
        for pin in [*(pin for file in PINS for pin in pins(file)), *extras, *SCHNETPACK]
    }
    differing = [
        f"{found.name} {found.version}, pinned: {allowed.get(canonicalize_name(found.name), 'not')}"
        for found in importlib.metadata.distributions()
        if canonicalize_name(found.name) not in {"pip", "pesloss"}
        and not any(
            specifier.contains(found.version, prereleases=True)
            for specifier in [allowed.get(canonicalize_name(found.name))]
            if specifier is not None
        )
    ]
    assert differing == []


def test_every_pin_of_the_workflow_is_installed() -> None:
    """A pin that nothing needs any more is to go."""
    installed = {canonicalize_name(found.name) for found in importlib.metadata.distributions()}
    for pin in pins("requirements.txt") + pins("constraints.txt"):
        assert name_of(pin) in installed, pin


def test_conda_environment_has_the_pins_of_pip() -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = next(part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    assert sorted(conda) == sorted(pins("requirements.txt") + pins("constraints.txt"))


def test_every_pin_is_exact() -> None:
    for pin in [pin for file in PINS for pin in pins(file)]:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+(\[[a-z]+\])?==[0-9][0-9a-z.]*", pin), pin


def test_schnetpack_is_installed_at_the_same_version_everywhere() -> None:
    found = {
        version
        for name in ("Makefile", "environment.yml", "README.md")
        for version in re.findall(
            r"schnetpack==([0-9.]+[0-9])", (ROOT / name).read_text(encoding="utf-8")
        )
    }
    assert len(found) == 1


# Says what it was called with; fails to install while there is a file called broken beside it.
FAKE_PYTHON = """#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/calls"
case "$*" in
    --version) echo "Python {version}" ;;
    -c*) echo {usable} ;;
    *"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *) [ ! -e broken ] ;;
esac
"""


@dataclass(frozen=True)
class Checkout:
    """A folder with the Makefile and a pretended Python that installs nothing."""

    folder: Path

    def python(self, version: str, usable: str) -> None:
        path = self.folder / "python"
        path.write_text(FAKE_PYTHON.format(version=version, usable=usable), encoding="utf-8")
        path.chmod(0o755)

    def make(self, python: str = "./python") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["make", f"PYTHON={python}", ".venv/installed"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        """What the Python was called with since this was last asked."""
        path = self.folder / "calls"
        found = path.read_text(encoding="utf-8").splitlines()
        path.unlink()
        return found


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return Checkout(tmp_path)


@pytest.mark.parametrize(
    ("python", "said"),
    [("./python", "Python 3.10.13"), ("./missing", "not found")],
    ids=["too old", "missing"],
)
def test_a_python_that_will_not_do_is_named_in_one_line(
    checkout: Checkout, python: str, said: str
) -> None:
    checkout.python("3.10.13", "False")
    done = checkout.make(python)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "Python 3.11 or newer" in line
    assert said in line
    assert not (checkout.folder / ".venv").exists()


def test_an_installation_that_was_cut_short_is_begun_anew(checkout: Checkout) -> None:
    checkout.python("3.12.1", "True")
    (checkout.folder / "broken").touch()
    assert checkout.make().returncode != 0
    assert "-m venv .venv" in checkout.calls()
    assert not (checkout.folder / ".venv" / "installed").exists()
    (checkout.folder / "broken").unlink()
    assert checkout.make().returncode == 0
    assert "-m venv --clear .venv" in checkout.calls()
    assert (checkout.folder / ".venv" / "installed").exists()
    again = checkout.make()
    assert again.returncode == 0
    assert "up to date" in again.stdout
    # Other pins go into the environment as it is: it was whole.
    later = (checkout.folder / ".venv" / "installed").stat().st_mtime + 1  # clocks are coarse
    os.utime(checkout.folder / "requirements.txt", (later, later))
    assert checkout.make().returncode == 0
    assert "-m venv .venv" in checkout.calls()


def test_package_does_not_print() -> None:
    files = list((ROOT / "src").rglob("*.py"))
    assert files
    for path in files:
        assert not re.search(r"^\s*print\(", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_workflow_scripts_are_short() -> None:
    for path in (ROOT / "workflow/scripts").glob("*.py"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        assert len(lines) < 20, path
