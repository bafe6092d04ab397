"""C of this package, compiled once for a machine and kept.

Where there is no compiler, what is computed in C is computed in torch.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from pesloss.job.errors import PeslossError
from pesloss.job.files import write_bytes
from pesloss.job.surroundings import cache_folder

LONGEST = 300  # seconds that a compiler is waited for; it takes a few
REALS = {torch.float32: ("float", "int32_t", 0), torch.float64: ("double", "int64_t", 1)}
ARCHITECTURES = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}
VECTORS = {"AVX512": 64, "AVX2": 32, "plain": 16}
"""Bytes of a vector by instruction set; plain: what any processor of the kind has."""


class NotCompiled(Exception):
    """Why there is no library, in one line."""


def instruction_set() -> str:
    """Return the instruction set that torch has chosen at run time: a key of `VECTORS`."""
    found = torch.backends.cpu.get_cpu_capability()
    return found if found in ARCHITECTURES else "plain"


def library(
    sources: Sequence[Path],
    dtype: torch.dtype,
    instructions: str | None = None,
    defined: Sequence[str] = (),
) -> ctypes.CDLL:
    """Return the compiled ``sources``, one after the other, for tensors of ``dtype``.

    A library in the cache is loaded only when it is what was written there, and by this user.

    Parameters
    ----------
    sources
        Files of C. They are given ``REAL``, ``INT``, ``DOUBLE`` and ``VBYTES``.
    dtype
        float32 or float64.
    instructions
        A key of `VECTORS`; left out: `instruction_set`.
    defined
        What else they are given.

    Raises
    ------
    NotCompiled
        Where it cannot be compiled or loaded.
    """
    compiler, flags = _compiler(), _flags(dtype, instructions or instruction_set())
    flags += [f"-D{name}" for name in defined]
    folder, text = _kept_in(), b"\n".join(source.read_bytes() for source in sources)
    key = _key(compiler, flags, text)
    if folder is not None:
        for path in sorted(folder.glob(f"{key}-*.so")):
            with suppress(OSError):
                if _is_as_written(path):
                    return ctypes.CDLL(str(path))
    try:
        return _compiled(compiler, flags, text, folder, key)
    except (OSError, PeslossError, subprocess.SubprocessError) as error:
        raise NotCompiled(_reason(error)) from None


def _compiler() -> list[str]:
    chosen = os.environ.get("CC") or "cc"
    try:
        words = shlex.split(chosen)
    except ValueError as error:
        raise NotCompiled(f"CC is {chosen!r} ({error})") from None
    found = shutil.which(words[0]) if words else None
    if found is None:
        raise NotCompiled(f"no C compiler {chosen!r}")
    return [found, *words[1:]]


def _flags(dtype: torch.dtype, instructions: str) -> list[str]:
    if dtype not in REALS:
        raise NotCompiled(f"there are none for {dtype}")
    real, integer, double = REALS[dtype]
    flags = ["-O3", "-fopenmp-simd", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC"]
    flags += [f"-DREAL={real}", f"-DINT={integer}", f"-DDOUBLE={double}"]
    architecture = ARCHITECTURES.get(instructions)
    flags += [f"-DVBYTES={VECTORS[instructions]}"]
    return flags + ([f"-march={architecture}"] if architecture else [])


def _key(compiler: list[str], flags: list[str], source: bytes) -> str:
    """Return what tells apart libraries of other sources, compilers, settings and processors."""
    about = os.stat(compiler[0])
    machine = [sys.platform, platform.machine(), str(about.st_size), str(about.st_mtime_ns)]
    parts = "\n".join([*compiler, *flags, *machine, ""]).encode()
    return hashlib.sha256(parts + source).hexdigest()[:20]


def _kept_in() -> Path | None:
    """Return the folder of compiled loops, made where it is not; None unless it is one's own."""
    try:
        folder = cache_folder() / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            return None
        folder.chmod(0o755)
        return folder
    except (OSError, PeslossError):
        return None


def _is_own(path: Path) -> bool:
    """Tell whether nobody else can have written the file ``path``."""
    about = path.lstat()
    own = about.st_uid == os.geteuid() and stat.S_ISREG(about.st_mode)
    return own and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_as_written(path: Path) -> bool:
    """Tell whether a library has the digest in its name: the loader dies of one that is cut."""
    if not _is_own(path):
        return False
    return path.stem.partition("-")[2] == hashlib.sha256(path.read_bytes()).hexdigest()


def _compiled(
    compiler: list[str], flags: list[str], source: bytes, folder: Path | None, key: str
) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="pesloss-") as place:
        built = Path(place) / "kernels.so"
        command = [*compiler, "-x", "c", *flags, "-o", str(built), "-", "-lm"]
        subprocess.run(command, input=source, capture_output=True, check=True, timeout=LONGEST)
        content = built.read_bytes()
        kept = folder and folder / f"{key}-{hashlib.sha256(content).hexdigest()}.so"
        if kept:
            with suppress(OSError, PeslossError):  # a full cache is no hindrance
                write_bytes(kept, content)
                return ctypes.CDLL(str(kept))
        return ctypes.CDLL(str(built))  # may be removed once it is loaded


def _reason(error: OSError | PeslossError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        first = lines[0] if lines else f"the C compiler ends with status {error.returncode}"
        return next((line for line in lines if "error" in line), first)[:200]
    if isinstance(error, subprocess.TimeoutExpired):
        return f"the C compiler does not end within {LONGEST} s"
    if isinstance(error, FileNotFoundError) and str(error.filename).endswith(".so"):
        return "the C compiler writes nothing"
    return " ".join(str(error).split())[:200]
