"""Style, types and pins."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
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


def test_conda_environment_has_the_pins_of_pip() -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = next(part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    assert sorted(conda) == sorted(pins("requirements.txt") + pins("constraints.txt"))


def test_every_pin_is_exact() -> None:
    for pin in pins("requirements.txt") + pins("constraints.txt"):
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


def test_package_does_not_print() -> None:
    files = list((ROOT / "src").rglob("*.py"))
    assert files
    for path in files:
        assert not re.search(r"^\s*print\(", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_workflow_scripts_are_short() -> None:
    for path in (ROOT / "workflow/scripts").glob("*.py"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        assert len(lines) < 20, path
