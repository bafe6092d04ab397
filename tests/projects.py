"""A copy of the project that a test may run and change, with a small dataset of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ase import Atoms
from ase.io import write

ROOT = Path(__file__).parents[1]
COPIED = ("Snakefile", "workflow", "config", "profiles", "src")
SMOKE = ("--configfile", "config/presets/smoke.yaml")
MINE = """\
description: Structures of mine.
kind: files
recipe:
  sources:
    - paths: [mine.xyz]
      format: extxyz
      labels: {energy: REF_energy, forces: REF_forces, energy_unit: eV, length_unit: Angstrom}
      groups: none
"""


def copy_project(folder: Path, structures: list[Atoms]) -> Path:
    """Copy what the workflow needs; ``structures`` are its dataset ``mine``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "config/datasets/mine.yaml").write_text(MINE, encoding="utf-8")
    frames: list[Atoms] = []
    for atoms in structures:
        copy = atoms.copy()
        copy.info = {"REF_energy": atoms.get_potential_energy()}
        copy.arrays["REF_forces"] = atoms.get_forces()
        frames.append(copy)
    write(folder / "mine.xyz", frames)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The package of the folder, and no network."""
    return {
        **os.environ,
        "PYTHONPATH": str(folder / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "PESLOSS_CACHE": str(folder / "cache"),
        "PESLOSS_MIRROR": "",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }


def command(*arguments: str, config: tuple[str, ...] = ()) -> list[str]:
    """How Snakemake is called for the smoke preset of the copy on its own dataset alone."""
    settings = ("--config", "datasets=[mine]", *config)
    return [sys.executable, "-m", "snakemake", *arguments, *SMOKE, *settings]


def snakemake(
    folder: Path, *arguments: str, config: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in the copy."""
    return subprocess.run(
        command(*arguments, config=config),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
