"""Loops over neighbour pairs in C, compiled once for a machine and kept.

Where there is no compiler, `load` returns None and `pesloss.model.messages` computes the same in
torch.
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
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pesloss.job.errors import PeslossError
from pesloss.job.files import write_bytes
from pesloss.job.surroundings import cache_folder
from pesloss.model.devices import CPU

# For every pair p of atoms i and j: features x and messages g of atoms, filters w (n) of pairs and
# directions u (3). Rows of x, w, u and g are `rx`, `rw`, `ru` and `rg` numbers apart, channels n.
# Pairs are summed in their order, so that a result depends on its input alone. An atom and its own
# image (i = j) come apart, since the loops take it that the two atoms' rows are different memory.
SOURCE = """
#include <stdint.h>
#define LOOP _Pragma("omp simd") for (int64_t f = 0; f < n; f++)
#define PAIRS for (int64_t p = 0; p < pairs; p++)
#define ATOMS const int64_t i = first[p], j = second[p];
#define HEAD int64_t pairs, int64_t n, int64_t channels, const int64_t *first, const int64_t *second
typedef const REAL *restrict in;
typedef REAL *restrict out;

/* g[i] += x[j] w[p] and g[j] += x[i] w[p] */
static inline void message(int64_t n, in xi, in xj, in w, out gi, out gj) {
  LOOP { gi[f] += xj[f] * w[f]; gj[f] += xi[f] * w[f]; }
}
static inline void own_message(int64_t n, in x, in w, out g) { LOOP g[f] += 2 * x[f] * w[f]; }

void scalar_g(HEAD, const REAL *x, int64_t rx, const REAL *w, int64_t rw, REAL *g, int64_t rg) {
  PAIRS { ATOMS for (int64_t c = 0; c < channels; c++) {
    const REAL *xi = x + i * rx + c * n, *xj = x + j * rx + c * n;
    REAL *gi = g + i * rg + c * n, *gj = g + j * rg + c * n;
    if (i == j) own_message(n, xi, w + p * rw, gi);
    else message(n, xi, xj, w + p * rw, gi, gj);
  } }
}

/* w[p] = g[i] x[j] + g[j] x[i] */
static inline void product(int64_t n, in xi, in xj, in gi, in gj, out w) {
  LOOP w[f] += gi[f] * xj[f] + gj[f] * xi[f];
}

void scalar_w(HEAD, const REAL *g, int64_t rg, const REAL *x, int64_t rx, REAL *w, int64_t rw) {
  PAIRS { ATOMS for (int64_t c = 0; c < channels; c++)
    product(n, x + i * rx + c * n, x + j * rx + c * n, g + i * rg + c * n, g + j * rg + c * n,
            w + p * rw); }
}

/* g[i] += u[p] x[j] w[p] and g[j] -= u[p] x[i] w[p] */
static inline void vector_message(int64_t n, in xi, in xj, in w, in u, out gi, out gj) {
  LOOP {
    REAL a = xj[f] * w[f], b = xi[f] * w[f];
    gi[f] += u[0] * a; gi[n + f] += u[1] * a; gi[2 * n + f] += u[2] * a;
    gj[f] -= u[0] * b; gj[n + f] -= u[1] * b; gj[2 * n + f] -= u[2] * b;
  }
}

void vector_g(HEAD, const REAL *x, int64_t rx, const REAL *w, int64_t rw, const REAL *u, int64_t ru,
              REAL *g, int64_t rg) {
  PAIRS { ATOMS if (i != j)
    vector_message(n, x + i * rx, x + j * rx, w + p * rw, u + p * ru, g + i * rg, g + j * rg); }
}

/* x[j] += u[p] g[i] w[p] and x[i] -= u[p] g[j] w[p] */
static inline void vector_turned(int64_t n, in gi, in gj, in w, in u, out xi, out xj) {
  LOOP {
    xj[f] += (u[0] * gi[f] + u[1] * gi[n + f] + u[2] * gi[2 * n + f]) * w[f];
    xi[f] -= (u[0] * gj[f] + u[1] * gj[n + f] + u[2] * gj[2 * n + f]) * w[f];
  }
}

void vector_x(HEAD, const REAL *g, int64_t rg, const REAL *w, int64_t rw, const REAL *u, int64_t ru,
              REAL *x, int64_t rx) {
  PAIRS { ATOMS if (i != j)
    vector_turned(n, g + i * rg, g + j * rg, w + p * rw, u + p * ru, x + i * rx, x + j * rx); }
}

/* w[p] = u[p] (g[i] x[j] - g[j] x[i]) */
static inline void vector_product(int64_t n, in gi, in gj, in xi, in xj, in u, out w) {
  LOOP w[f] = (u[0] * gi[f] + u[1] * gi[n + f] + u[2] * gi[2 * n + f]) * xj[f]
            - (u[0] * gj[f] + u[1] * gj[n + f] + u[2] * gj[2 * n + f]) * xi[f];
}

void vector_w(HEAD, const REAL *g, int64_t rg, const REAL *x, int64_t rx, const REAL *u, int64_t ru,
              REAL *w, int64_t rw) {
  PAIRS { ATOMS
    vector_product(n, g + i * rg, g + j * rg, x + i * rx, x + j * rx, u + p * ru, w + p * rw); }
}

/* u[p] = sum_f (g[i] x[j] - g[j] x[i]) w[p] */
void vector_u(HEAD, const REAL *g, int64_t rg, const REAL *x, int64_t rx, const REAL *w, int64_t rw,
              REAL *u, int64_t ru) {
  PAIRS { ATOMS
    in gi = g + i * rg, gj = g + j * rg, xi = x + i * rx, xj = x + j * rx, v = w + p * rw;
    REAL a = 0, b = 0, c = 0;
    _Pragma("omp simd reduction(+:a,b,c)")
    for (int64_t f = 0; f < n; f++) {
      REAL to_i = xj[f] * v[f], to_j = xi[f] * v[f];
      a += gi[f] * to_i - gj[f] * to_j;
      b += gi[n + f] * to_i - gj[n + f] * to_j;
      c += gi[2 * n + f] * to_i - gj[2 * n + f] * to_j;
    }
    u[p * ru] = a; u[p * ru + 1] = b; u[p * ru + 2] = c;
  }
}
"""
LONGEST = 300  # seconds that a compiler is waited for; it takes less than one
REALS = {torch.float32: "float", torch.float64: "double"}
ARCHITECTURES = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}
OPERANDS = {
    "scalar_g": 3,
    "scalar_w": 3,
    "vector_g": 4,
    "vector_x": 4,
    "vector_w": 4,
    "vector_u": 4,
}


class _NoLoops(Exception):
    """Why there are no compiled loops."""


@cache
def load(dtype: torch.dtype) -> dict[str, Any] | None:
    """Return the loops for tensors of ``dtype``; None where they cannot be compiled or loaded.

    A library in the cache is loaded only when it is what was written there, and by this user.
    """
    try:
        library = _library(dtype)
    except _NoLoops:
        return None
    loops = {name: getattr(library, name) for name in OPERANDS}
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    for name, loop in loops.items():
        loop.argtypes = [*[integer] * 3, pointer, pointer, *[pointer, integer] * OPERANDS[name]]
        loop.restype = None
    return loops


def _library(dtype: torch.dtype) -> ctypes.CDLL:
    compiler, flags = _compiler(), _flags(dtype)
    folder = _kept_in()
    key = _key(compiler, flags)
    if folder is not None:
        for path in sorted(folder.glob(f"{key}-*.so")):
            with suppress(OSError):
                if _is_as_written(path):
                    return ctypes.CDLL(str(path))
    try:
        return _compiled(compiler, flags, folder, key)
    except (OSError, PeslossError, subprocess.SubprocessError) as error:
        raise _NoLoops(_reason(error)) from None


def _compiler() -> list[str]:
    chosen = os.environ.get("CC") or "cc"
    try:
        words = shlex.split(chosen)
    except ValueError as error:
        raise _NoLoops(f"CC is {chosen!r} ({error})") from None
    found = shutil.which(words[0]) if words else None
    if found is None:
        raise _NoLoops(f"no C compiler {chosen!r}")
    return [found, *words[1:]]


def _flags(dtype: torch.dtype) -> list[str]:
    if dtype not in REALS:
        raise _NoLoops(f"there are none for {dtype}")
    flags = ["-O3", "-fopenmp-simd", "-shared", "-fPIC", f"-DREAL={REALS[dtype]}"]
    architecture = ARCHITECTURES.get(torch.backends.cpu.get_cpu_capability())
    return flags + ([f"-march={architecture}"] if architecture else [])


def _key(compiler: list[str], flags: list[str]) -> str:
    """Return what tells apart libraries of other sources, compilers, settings and processors."""
    about = os.stat(compiler[0])
    machine = [sys.platform, platform.machine(), str(about.st_size), str(about.st_mtime_ns)]
    parts = [*compiler, *flags, *machine, SOURCE]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


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


def _compiled(compiler: list[str], flags: list[str], folder: Path | None, key: str) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="pesloss-") as place:
        built = Path(place) / "kernels.so"
        command = [*compiler, "-x", "c", *flags, "-o", str(built), "-"]
        given = SOURCE.encode()
        subprocess.run(command, input=given, capture_output=True, check=True, timeout=LONGEST)
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


def described(device: torch.device = CPU) -> str:
    """Say in a few words how sums over pairs are computed on a device, and why not in C."""
    if device.type != "cpu":
        return "torch"
    if load(torch.float32):
        return "compiled C"
    try:
        _library(torch.float32)
    except _NoLoops as reason:
        return f"torch, for want of compiled loops ({reason})"
    return "torch"
