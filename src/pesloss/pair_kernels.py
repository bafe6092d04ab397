"""Two loops over neighbour pairs in C, compiled once for a machine and kept.

Where there is no compiler, `load` returns None and `pesloss.messages` computes the same in torch.
"""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch

from pesloss.files import written_whole

# Rows of n features follow one another at `row_*`; the channels x, y, z of a row at `step_*`,
# which is 0 where all channels share one. The sums run over the pairs in their order, so that a
# result depends on its input alone. Two separate sums, since i = j for an atom and its own image.
SOURCE = """
#include <stdint.h>

static inline void add(REAL *restrict out, const REAL *restrict a, const REAL *restrict b,
                       REAL sign, int64_t n) {
  for (int64_t f = 0; f < n; f++) out[f] += sign * a[f] * b[f];
}

/* out[i] += x[j] w[p] and out[j] += sign x[i] w[p] */
void messages(int64_t pairs, int64_t n, int64_t channels, int64_t step_x, int64_t step_w,
              int64_t step_out, REAL sign, const int64_t *first, const int64_t *second,
              const REAL *x, int64_t row_x, const REAL *w, int64_t row_w,
              REAL *out, int64_t row_out) {
  for (int64_t p = 0; p < pairs; p++) {
    const REAL *xi = x + first[p] * row_x, *xj = x + second[p] * row_x, *wp = w + p * row_w;
    REAL *oi = out + first[p] * row_out, *oj = out + second[p] * row_out;
    for (int64_t c = 0; c < channels; c++) {
      add(oi + c * step_out, xj + c * step_x, wp + c * step_w, 1, n);
      add(oj + c * step_out, xi + c * step_x, wp + c * step_w, sign, n);
    }
  }
}

/* out[p] += g[i] x[j] + sign g[j] x[i] */
void products(int64_t pairs, int64_t n, int64_t channels, int64_t step_x, int64_t step_out,
              int64_t step_g, REAL sign, const int64_t *first, const int64_t *second,
              const REAL *x, int64_t row_x, const REAL *g, int64_t row_g,
              REAL *out, int64_t row_out) {
  for (int64_t p = 0; p < pairs; p++) {
    const REAL *xi = x + first[p] * row_x, *xj = x + second[p] * row_x;
    const REAL *gi = g + first[p] * row_g, *gj = g + second[p] * row_g;
    for (int64_t c = 0; c < channels; c++) {
      add(out + p * row_out + c * step_out, gi + c * step_g, xj + c * step_x, 1, n);
      add(out + p * row_out + c * step_out, gj + c * step_g, xi + c * step_x, sign, n);
    }
  }
}
"""
REALS = {torch.float32: ("float", ctypes.c_float), torch.float64: ("double", ctypes.c_double)}
ARCHITECTURES = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}


class Kernels:
    """The compiled loops for one real type."""

    def __init__(self, library: Path, real: type) -> None:
        loaded = ctypes.CDLL(str(library))
        integer, pointer = ctypes.c_int64, ctypes.c_void_p
        rows = [pointer, integer] * 3
        for function in (loaded.messages, loaded.products):
            function.argtypes = [*[integer] * 6, real, pointer, pointer, *rows]
            function.restype = None
        self.messages, self.products = loaded.messages, loaded.products


@cache
def load(dtype: torch.dtype) -> Kernels | None:
    """Return the loops for tensors of ``dtype``; None without a compiler that can make them."""
    words = shlex.split(os.environ.get("CC") or "cc")
    compiler = shutil.which(words[0])
    if compiler is None or dtype not in REALS:
        return None
    name, real = REALS[dtype]
    flags = [*words[1:], "-O3", "-shared", "-fPIC", f"-DREAL={name}"]
    architecture = ARCHITECTURES.get(torch.backends.cpu.get_cpu_capability())
    flags += [f"-march={architecture}"] if architecture else []
    try:
        return Kernels(_compiled(compiler, flags), real)
    except (OSError, subprocess.SubprocessError):
        return None


def _compiled(compiler: str, flags: list[str]) -> Path:
    key = hashlib.sha256("\n".join([compiler, sys.platform, *flags, SOURCE]).encode()).hexdigest()
    folder = Path(os.environ.get("PESLOSS_CACHE") or "~/.cache/pesloss").expanduser()
    library = folder / "kernels" / f"{key[:20]}.so"
    if not library.exists():
        with written_whole(library) as scratch:
            command = [compiler, "-x", "c", *flags, "-o", str(scratch), "-"]
            subprocess.run(command, input=SOURCE, text=True, capture_output=True, check=True)
    return library


def described() -> str:
    """Say in a few words how sums over pairs are computed here."""
    return "compiled C" if load(torch.float32) else "torch, for want of a working C compiler"
