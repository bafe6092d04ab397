"""Whatever is done to the files of config/: a plan, or one line that names one of them."""

import copy
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from pesloss.data.external import unavailable_here
from pesloss.job.errors import PeslossError
from pesloss.plan.cost import known_rates, plan_cost, plan_line
from pesloss.plan.seeds import add_seeds
from pesloss.plan.suite import Suite
from pesloss.spec.config_files import as_typed
from pesloss.spec.run import Run, settings_of
from pesloss.spec.yaml_files import read_yaml

CONFIG = Path(__file__).parents[1] / "config"
EXAMPLES, NIGHTLY = 100, 2000
LONGEST = 20.0  # s of processor time, for a plan of up to MOST_RUNS runs
PRESET = "presets/smoke.yaml"
RATES = known_rates(CONFIG.parent / "results/reference/tables/training_rates.csv")
ABLATIONS = {
    "label_exponent": ["labels", "supercells", "own"],
    "units_raw": ["xtb_varied"],
    "capacity": ["xtb_varied", "si_sw"],
    "learning_rate_per_loss": ["emt_alloys", "own"],
    "control_losses": ["xtb_small", "xtb_varied"],
    "losses_by_size": ["si_dft"],
    "linear_synthetic": ["labels_correlation", "si_dft_supercells"],
}
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 5, 10**6, 10**9, 10**18, -(10**18), 0.5, 1.0, -0.5, 1e-300,
    1e308, float("nan"), float("inf"), "", " ", "x", "0", "3", "1e-3", "5x", "0x", "1x", "own",
    "raw", "schnet", "labels", "default", "defualt", "{dataset}", "../x", "a/b", "ü", "a\nb", "~",
    "null", b"\x00", [], {}, [[]], [0], [0, 0], [1, 1.0], ["raw"], ["raw", "raw"], [None], [True],
    {"x": 1}, {"": None}, {1: 2}, {"train": 1.0},
]  # fmt: skip
TEXTS = [
    "\t", "\x00", "\ufeff", ":", "- ", "{", "[", "}", "&a ", "*a", "<<: *a\n", "%YAML 9\n", "---\n",
    "!!python/object:os.system x\n", "...\n", "# x", "'", '"', "|", "? ", "ü", "\u2028",
    "2020-01-01", "0o7", "1_0", "1:30", "=", "!!int x", "!!timestamp x", "!!bool x", "!!set {a}",
    "9" * 5000, "[" * 3000, "seeds: []\n", "seeds: [0]\nseeds: [1]\n",
]  # fmt: skip
NAMES = [
    "x.yml", "x.YAML", "x y.yaml", "{x}.yaml", "ü.yaml", "own.yaml", ".x.yaml", "x.yaml~", "|.yaml",
    ".x.yaml.swp", "x", "x.yaml.bak", "-x.yaml", "a.b.yaml", "x\n.yaml", "README.md", "y.yaml",
]  # fmt: skip
KINDS = [
    "labels", "labels_correlation", "supercells", "emt_alloys", "si_sw", "xtb_varied", "xtb_small",
]  # fmt: skip
MINE = """
description: Structures of mine.
kind: files
seed: 3
n_structures: {smoke: 10, default: 100}
recipe:
  method: PBE
  licence: none
  citation: none
  spread: any
  caveats: none
  sources:
  - paths: [a.xyz, b.xyz]
    format: extxyz
    labels: {energy: e, forces: f, stress: s, energy_unit: eV, length_unit: Angstrom,
      forces_unit: eV/Angstrom, stress_unit: GPa, stress_order: voigt, stress_is_pressure: true,
      forces_are_gradients: false, energy_per_atom: false}
    groups: {by: [similar, source], pattern: (.*), tolerance: 0.5, max_strain: 0.1}
    phase: {by: info:phase, labels: {a.*: a}, constant: c}
  - paths: [c.db]
    format: ase_db
    groups: formula
    phase: all
    labels: {energy: e, forces: f, energy_unit: Hartree, length_unit: Bohr}
  limits: {min_atoms: 1, max_atoms: 50, min_energy_per_atom: -10.0, max_energy_per_atom: 0.5,
    max_force: 30.0, max_net_force: 0.1, isolation: 4.0}
  rarest: 3
  phases: [a, all]
  copies: [1, 2]
  check_units: report
"""


def contents() -> dict[str, Any]:
    """A small config/ with every kind of file, as valid as the suite's own."""
    found = {"config.yaml": read_yaml(CONFIG / "config.yaml")}
    found["config.yaml"] |= {
        "splits": {"train": 0.6, "validation": 0.2, "test": 0.2},
        "pathvars": {"results": "results"},
        "most": {"values": 3},
    }
    found[PRESET] = read_yaml(CONFIG / PRESET)
    for name in [*KINDS, "si_dft", "si_dft_supercells"]:
        found[f"datasets/{name}.yaml"] = read_yaml(CONFIG / f"datasets/{name}.yaml")
    found["datasets/mine.yaml"] = yaml.safe_load(MINE)
    found["models/schnet.yaml"] = read_yaml(CONFIG / "models/schnet.yaml")
    for name, datasets in ABLATIONS.items():
        found[f"ablations/{name}.yaml"] = {
            **read_yaml(CONFIG / f"ablations/{name}.yaml"),
            "datasets": datasets,
        }
        for claim in found[f"ablations/{name}.yaml"]["claims"]:
            file = f"claims/{claim['claim']}.yaml"
            found[file] = read_yaml(CONFIG / file)
    found["more_seeds.yaml"] = {"seeds": {"default": {"capacity": 7}, "smoke": {"units_raw": 2}}}
    return found


CONTENTS = contents()
TEXT = {file: yaml.safe_dump(content, sort_keys=False) for file, content in CONTENTS.items()}
FILES = sorted(CONTENTS)


def write(folder: Path) -> None:
    for file, text in TEXT.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")


Place = tuple[Any, Any]  # a mapping or list, and a key or an index of it


def places(content: Any) -> Iterator[Place]:
    for key in content if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places(content[key])


def replace(draw: Callable[..., Any], place: Place) -> None:
    place[0][place[1]] = copy.deepcopy(draw(st.sampled_from(ODD)))


def drop(draw: Callable[..., Any], place: Place) -> None:
    del place[0][place[1]]


def rename(draw: Callable[..., Any], place: Place) -> None:
    holder, key = place
    if isinstance(holder, dict):
        new = draw(st.sampled_from([f"{key}s", str(key)[:-1], str(key).upper(), "", "train", "x"]))
        holder[new] = holder.pop(key)


def double(draw: Callable[..., Any], place: Place) -> None:
    holder, key = place
    if isinstance(holder, list):
        holder.insert(draw(st.integers(0, len(holder))), copy.deepcopy(holder[key]))
    else:
        holder["x"] = copy.deepcopy(holder[key])


def nest(draw: Callable[..., Any], place: Place) -> None:
    holder, key = place
    holder[key] = [holder[key]] if draw(st.booleans()) else {"x": holder[key]}


def scale(draw: Callable[..., Any], place: Place) -> None:
    holder, key = place
    if isinstance(holder[key], int | float):
        holder[key] *= draw(st.sampled_from([-1, 0, 0.5, 2, 1000, 10**12, 1e-12]))


def many(draw: Callable[..., Any], place: Place) -> None:
    holder, key = place
    if isinstance(holder[key], list):
        holder[key] = list(range(draw(st.sampled_from([2, 200, 5000]))))


def exchange(draw: Callable[..., Any], place: Place) -> None:
    other = draw(st.sampled_from(list(places(CONTENTS[draw(st.sampled_from(FILES))]))))
    place[0][place[1]] = copy.deepcopy(other[0][other[1]])


OPERATIONS = [replace, replace, replace, drop, rename, double, nest, scale, many, exchange]


def mutated(draw: Callable[..., Any], content: Any) -> Any:
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(content))
        if found:
            draw(st.sampled_from(OPERATIONS))(draw, draw(st.sampled_from(found)))
    return content


def garbled(draw: Callable[..., Any], text: str) -> bytes:
    """Lines and characters put in, taken away and doubled, and bytes that are no text."""
    lines = text.splitlines(keepends=True)
    line = draw(st.integers(0, max(len(lines) - 1, 0)))
    at = draw(st.integers(0, len(text)))
    odd = draw(st.sampled_from(TEXTS))
    found = draw(
        st.sampled_from(
            [
                "".join(lines[: line + 1] + lines[line:]),
                "".join(lines[:line] + lines[line + 1 :]),
                "".join([*lines[:line], odd, *lines[line:]]),
                text[:at] + odd + text[at:],
                text[:at],
                text[:at] + text[at + 1 :],
                text.replace("\n", "\r\n"),
                "",
                odd,
            ]
        )
    )
    return bytes(found.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))))


def misplaced(draw: Callable[..., Any], folder: Path, path: Path) -> None:
    """A file that is none, is gone, or has another name."""
    what = draw(st.sampled_from(["gone", "folder", "loop", "pipe", "dangling", "moved", "added"]))
    name = draw(st.sampled_from(NAMES))
    text = path.read_bytes()
    if what != "added":
        path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what in ("loop", "dangling"):
        path.symlink_to(path.name if what == "loop" else "nothing")
    elif what in ("moved", "added"):
        path.with_name(name).write_bytes(text)


def planned(folder: Path, preset: bool) -> Suite:
    """Read the plan as the workflow does."""
    files = [folder / "config.yaml", *([folder / PRESET] if preset else [])]
    for path in files:
        read_yaml(path)
    config: dict[str, Any] = {}
    for path in files:
        update_config(config, load_configfile(str(path)))
    return Suite.read(as_typed(config), folder, unavailable_here, files)


CONSTRAINTS = {  # as in workflow/rules/common.smk
    "force_weight": "[0-9.e+-]+",
    "seed": "[0-9]+",
    "variant": "[^/]+",
    "cutoff": "[0-9.]+",
}


def use(suite: Suite) -> None:
    """Ask for everything that the rules ask for."""
    assert suite.ablations
    assert suite.datasets_in_use
    for name, spec in suite.made.items():
        assert re.fullmatch("|".join(suite.made), name)
        assert spec.described()["kind"] in suite.kind(name)
        assert name in suite.of_origin(spec.origin)
        assert spec.parent is None or spec.parent in suite.made
        size = spec.size(suite.config.preset)
        assert size is None or size > 0
    for name in suite.made:
        suite.readers(name), suite.own_files(name)
    for name, ablation in suite.ablations.items():
        assert ablation.claims
        assert (ablation.runs is None) == (not suite.runs_of(name))
        suite.inputs_of(name)
    for run in {(run.model, run.changes): run for run in suite.runs}.values():
        assert Run.from_folder(str(run.folder)) == run
        parts = {
            "force_weight": run.folder.parts[-2].removeprefix("weight-"),
            "seed": str(run.seed),
        }
        parts |= {"variant": run.variant}
        model, _ = settings_of(run, suite.models[run.model], suite.config.training)
        parts |= {"cutoff": f"{model.cutoff:g}"}
        for key, value in parts.items():
            assert re.fullmatch(CONSTRAINTS[key], value), (key, value)
    groups = [group.runs for group in suite.groups]
    cost = plan_cost(groups, suite.models, suite.config.training, RATES, suite.config.results)
    assert suite.config.preset in plan_line(cost, suite.config.preset, 2)


def one_line(call: Callable[[], object]) -> str:
    """Return the line a call is refused with, or nothing; anything else fails."""
    said = ""
    try:
        call()
    except PeslossError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1, said
    assert len(said) < 2000, said
    return said


def outcome(folder: Path, call: Callable[[], object]) -> str:
    """Return the line a plan is refused with, which names a file, or nothing; in bounded time."""
    start = time.process_time()
    said = one_line(call)
    assert time.process_time() - start < LONGEST
    named = [str(path) for path in [folder, *folder.rglob("*"), *(folder / f for f in FILES)]]
    assert not said or any(said.startswith(name) for name in [*named, "--config"]), said
    return said


def examples(nightly: bool) -> settings:
    return settings(
        max_examples=NIGHTLY if nightly else EXAMPLES,
        deadline=None,
        derandomize=not nightly,
        suppress_health_check=list(HealthCheck),
        database=None,
    )


def test_the_files_are_valid_before_anything_is_done_to_them(tmp_path: Path) -> None:
    write(tmp_path)
    for preset in (False, True):
        use(planned(tmp_path, preset))


@pytest.mark.parametrize("file", FILES)
def test_every_file_may_be_gone_without_a_traceback(tmp_path: Path, file: str) -> None:
    write(tmp_path)
    (tmp_path / file).unlink()
    outcome(tmp_path, lambda: use(planned(tmp_path, preset=False)))


def test_whatever_is_done_to_the_files(tmp_path: Path, nightly: bool) -> None:
    counts = {"plan": 0, "line": 0}

    @examples(nightly)
    @given(st.data())
    def law(data: st.DataObject) -> None:
        folder = tmp_path / "config"
        shutil.rmtree(folder, ignore_errors=True)
        write(folder)
        path = folder / data.draw(st.sampled_from(FILES))
        how = data.draw(st.sampled_from(["values", "values", "values", "text", "place"]))
        if how == "values":
            content = mutated(data.draw, CONTENTS[str(path.relative_to(folder))])
            path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        elif how == "text":
            path.write_bytes(garbled(data.draw, path.read_text(encoding="utf-8")))
        else:
            misplaced(data.draw, folder, path)
        preset = data.draw(st.booleans())
        said = outcome(folder, lambda: use(planned(folder, preset)))
        counts["line" if said else "plan"] += 1

    law()
    number = NIGHTLY if nightly else EXAMPLES
    assert sum(counts.values()) >= number
    assert min(counts.values()) > number / 20, counts


def test_more_seeds_never_writes_what_the_plan_refuses(tmp_path: Path, nightly: bool) -> None:
    @examples(nightly)
    @given(
        st.sampled_from([*ABLATIONS, "x", "", "../x", "own"]),
        st.sampled_from([None, -1, 0, 1, 3, 5, 6, 8, 200, 999, 1001, 10**6, 10**12]),
        st.sampled_from([None, "default", "smoke", "smok", "", "."]),
        st.sampled_from(
            ["", "# x\n", "seeds: {default: {capacity: 6}} # y\n", "seeds: {}", "seeds:\n"]
        ),
    )
    def law(ablation: str, to: int | None, preset: str | None, text: str) -> None:
        folder = tmp_path / "config"
        if not folder.exists():
            write(folder)
        path = folder / "more_seeds.yaml"
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text, encoding="utf-8")
        said = one_line(lambda: add_seeds(ablation, to, preset, folder))
        if said:
            assert (path.read_text(encoding="utf-8") if path.exists() else "") == text
        else:
            planned(folder, preset == "smoke")

    law()
