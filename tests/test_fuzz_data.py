"""Whatever stands in a user's file: finite scales and weights, or one line that names it."""

import json
import math
import time
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pesloss.adapters.weights import CODES
from pesloss.commands import Data, write_scales, write_weights
from pesloss.job.errors import PeslossError

EXAMPLES, NIGHTLY = 60, 2000
LONGEST = 10.0  # s of processor time for one file of at most 40 small structures
ODD_NUMBERS = [
    "nan", "inf", "-inf", "0", "-0.0", "1e-300", "1e300", "-1e308", "1e9", "T", "x", "", "1,5",
    "0x1", "1_0", "1d3", "--1", "9" * 400,
]  # fmt: skip
ODD_SPECIES = ["X", "x", "", "Xx", "D", "0", "-1", "14", "200", "si", "SI", "Si1", "ü", "Og"]
ODD_CELLS = [
    "", "0 0 0 0 0 0 0 0 0", "5 0 0 5 0 0 0 0 5", "5 0 0 0 5 0 0 0 -5", "1 2 3", "5 0 0 0 5 0",
    "nan 0 0 0 5 0 0 0 5", "0.02 0 0 0 5 0 0 0 5", "5 0 0 4.99999 0.001 0 0 0 5",
    "1e9 0 0 0 5 0 0 0 5", "5 0 0 0 0 0 0 0 0", "a b c d e f g h i",
]  # fmt: skip
ODD_KEYS = [
    "", "config_type=IsolatedAtom", "config_type=", "virial=nan", "stress=\"1 2 3\"",
    "energy=1", "energy=1 energy=2", "charge=1", "weight=nan", "energy_weight=x", "pbc=\"T T\"",
    "free_energy=0", "_JSON=[]", "x=\"[[1, 2], [3]]\"", "forces=1", "Energy=3", "name=\"a b", "=3",
    "numbers=\"1 1\"",
]  # fmt: skip
HEADS = [
    "species:S:1:pos:R:3", "species:S:1:pos:R:3:f:R:3", "species:S:1:pos:R:3:forces:R:3",
    "species:S:1:pos:R:3:f:R:1", "pos:R:3:species:S:1", "species:S:1", "Z:I:1:pos:R:3",
    "species:S:1:pos:I:3", "species:S:1:pos:R:3:f:R:3:f:R:3", "species:S:1:pos:R:x",
]  # fmt: skip
MARKS = ["\x00", "\ufeff", "\r", "\n", "\n\n", " ", "-1\n", "0\n\n", "1e9\n", "3\n", "{", "ü"]


def frame(rng: np.random.Generator, n: int, energy: float) -> list[str]:
    """A healthy structure: atoms on a grid, none nearer than 1.6 Å to another."""
    edge = math.ceil(n ** (1 / 3))
    grid = np.array(list(np.ndindex(edge, edge, edge)))[:n] * 2.4 + rng.uniform(-0.4, 0.4, (n, 3))
    forces = rng.normal(0, 1, (n, 3))
    rows = np.hstack([grid, forces - forces.mean(axis=0)])
    lines = [
        " ".join([name, *(f"{value:.6f}" for value in row)])
        for name, row in zip(rng.choice(["Si", "C"], n), rows, strict=True)
    ]
    lattice = " ".join(f"{value:.3f}" for value in (2.4 * edge * np.eye(3)).ravel())
    head = f'Lattice="{lattice}" Properties={HEADS[1]} e={energy:.6f} pbc="T T T"'
    return [str(n), head, *lines]


def changed(lines: list[str], draw: Any) -> list[str]:
    """Change one thing of a structure."""
    kinds = ["number", "species", "line"] if len(lines) > 2 else []
    kind = draw(st.sampled_from([*kinds, "cell", "key", "head", "count", "label"]))
    if kind in kinds:
        return [*lines[:2], *changed_atoms(lines[2:], kind, draw)]
    if kind == "count":
        return [draw(st.sampled_from(["0", "-1", "2", "x", "", "1e3", "99"])), *lines[1:]]
    return [lines[0], changed_head(lines[1], kind, draw), *lines[2:]]


def changed_atoms(rows: list[str], kind: str, draw: Any) -> list[str]:
    atom, other = draw(st.integers(0, len(rows) - 1)), draw(st.integers(0, len(rows) - 1))
    if kind == "line":
        copied, lost, doubled = [*rows, rows[atom]], rows[:-1], [*rows[:-1], rows[other]]
        return list(draw(st.sampled_from([copied, lost, doubled])))
    words = rows[atom].split(" ")
    place = 0 if kind == "species" else draw(st.integers(0, len(words) - 1))
    words[place] = draw(st.sampled_from(ODD_SPECIES if kind == "species" else ODD_NUMBERS))
    return [*rows[:atom], " ".join(words), *rows[atom + 1 :]]


def changed_head(head: str, kind: str, draw: Any) -> str:
    if kind == "cell":
        old = head.partition('Lattice="')[2].partition('"')[0]
        return head.replace(f'"{old}"', f'"{draw(st.sampled_from(ODD_CELLS))}"')
    if kind == "key":
        return f"{head} {draw(st.sampled_from(ODD_KEYS))}"
    if kind == "head":
        return head.replace(HEADS[1], draw(st.sampled_from(HEADS)))
    old = head.partition(" e=")[2].partition(" ")[0]
    new = draw(st.sampled_from(["", *(f"e={number}" for number in ODD_NUMBERS)]))
    return head.replace(f" e={old}", f" {new}")


@st.composite
def files(draw: Any) -> str:
    """A file of structures of which some, or all, are odd."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_frames = draw(st.sampled_from([0, 1, 2, 3, 12, 40]))
    sizes = rng.choice(
        draw(st.sampled_from([[1], [4], [1, 2], [3, 5, 8], [2, 6, 12, 20]])), n_frames
    )
    frames = [frame(rng, n, float(-5 * n + rng.normal(0, math.sqrt(n)))) for n in sizes]
    for _ in range(draw(st.integers(0, 4)) if frames else 0):
        place = draw(st.integers(0, len(frames) - 1))
        frames[place] = changed(frames[place], draw)
    if frames and draw(st.integers(0, 9)) == 0:
        same = changed(frame(rng, 3, -15.0), draw)
        frames = [same] * len(frames)
    text = "".join("\n".join(lines) + "\n" for lines in frames)
    if draw(st.integers(0, 4)) == 0:
        where = draw(st.integers(0, len(text)))
        text = text[:where] + draw(st.sampled_from(MARKS)) + text[where:]
    if draw(st.integers(0, 9)) == 0:
        text = text[: draw(st.integers(0, len(text)))]
    return text


def numbers_in(content: Any) -> list[float]:
    if isinstance(content, dict):
        return [number for value in content.values() for number in numbers_in(value)]
    if isinstance(content, list):
        return [number for value in content for number in numbers_in(value)]
    return [content] if isinstance(content, float) else []


def weights_of(atoms: Atoms) -> list[float]:
    """What a code reads as weights, and GAP as σ."""
    named = [value for key, value in atoms.info.items() if "weight" in key or "sigma" in key]
    return [float(value) for value in named]


def tried(data: Data, output: Path, code: str | None) -> bool:
    """Run a command; returns whether it wrote a file. Half a file is none."""
    output.unlink(missing_ok=True)
    try:
        if code is None:
            write_scales(data, output)
        else:
            write_weights(data, output, code)
    except PeslossError as error:
        said = str(error)
    else:
        return True
    assert "\n" not in said
    assert data.path.name in said
    assert not output.exists()
    return False


def test_scales_and_weights_of_any_file(tmp_path: Path, nightly: bool) -> None:
    path, output = tmp_path / "mine.xyz", tmp_path / "output"
    seen = {True: 0, False: 0}

    @settings(
        max_examples=NIGHTLY if nightly else EXAMPLES,
        deadline=None,
        database=None,
        derandomize=not nightly,
        suppress_health_check=list(HealthCheck),
    )
    @given(files(), st.sampled_from([None, "f"]), st.sampled_from([None, *CODES]))
    def law(text: str, forces: str | None, code: str | None) -> None:
        path.write_text(text, encoding="utf-8", newline="")
        before = time.process_time()
        written = tried(Data(path, "e", forces), output, code)
        assert time.process_time() - before < LONGEST
        seen[written] += 1
        if written and code is None:
            assert all(map(math.isfinite, numbers_in(json.loads(output.read_text("utf-8")))))
        elif written:
            frames = ase.io.read(output, index=":", format="extxyz")
            assert frames
            weights = [value for atoms in frames for value in weights_of(atoms)]
            assert weights
            assert np.isfinite(weights).all()
            assert min(weights) >= 0

    law()
    assert min(seen.values()) > 0.05 * sum(seen.values())
