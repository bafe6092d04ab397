"""Every file under config/ is valid, and every mistake in one is a single line that names it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pesloss.config import Ablation, MoreSeeds, SuiteConfig
from pesloss.data.spec import load_dataset_spec
from pesloss.errors import PeslossError, wrong_value
from pesloss.plan import Suite
from pesloss.settings import ModelSpec
from pesloss.specification import load, load_all, parse, read_yaml

CONFIG = Path(__file__).parents[1] / "config"
READERS: dict[str, Callable[[Path], object]] = {
    "datasets": load_dataset_spec,
    "models": lambda path: load(ModelSpec, path),
    "ablations": lambda path: load(Ablation, path),
    "presets": lambda path: load(SuiteConfig, path),
    "more_seeds": lambda path: load(MoreSeeds, path),
}


@pytest.mark.parametrize(
    "path", sorted(CONFIG.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONFIG))
)
def test_every_file_of_the_suite_is_valid(path: Path) -> None:
    reader = READERS.get(path.stem) or READERS.get(path.parent.name, READERS["presets"])
    reader(path)


def test_the_suite_and_its_presets_are_valid_as_a_whole() -> None:
    base = read_yaml(CONFIG / "config.yaml")
    for preset in [{}, *map(read_yaml, (CONFIG / "presets").glob("*.yaml"))]:
        training = {**base.get("training", {}), **preset.get("training", {})}
        suite = Suite.read({**base, **preset, "training": training}, CONFIG)
        assert suite.runs
        assert set(suite.datasets_in_use) <= set(suite.datasets)


def test_every_dataset_and_model_is_used_by_some_ablation() -> None:
    suite = Suite.read(read_yaml(CONFIG / "config.yaml"), CONFIG)
    assert set(suite.datasets_in_use) == set(suite.datasets)
    assert {run.model for run in suite.runs} == set(suite.models)


@pytest.mark.parametrize(
    "path", sorted((CONFIG / "ablations").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_claim_says_why_or_its_ablation_does(path: Path) -> None:
    ablation = load(Ablation, path)
    for claim in ablation.claims:
        assert (claim.why or ablation.why or "").strip().endswith("."), claim.statistic


def test_every_control_is_explained() -> None:
    science = (CONFIG.parent / "docs" / "science.md").read_text(encoding="utf-8")
    ablations = load_all(Ablation, CONFIG / "ablations")
    controls = [name for name, a in ablations.items() if any(c.must_be for c in a.claims)]
    assert len(controls) > 10
    assert [name for name in controls if f"| `{name}` |" not in science] == []


def test_a_toy_preset_uses_the_first_datasets_that_are_in_the_suite() -> None:
    base = read_yaml(CONFIG / "config.yaml")
    listed = load(Ablation, CONFIG / RUNS).datasets
    present = ["emt_alloys", "si_sw"]
    assert [listed.index(name) for name in present] == [2, 1]  # listed in another order
    few = {**base, "datasets": present}
    every = Suite.read(few, CONFIG)
    assert every.datasets_of("losses_by_size") == ["si_sw", "emt_alloys"]
    for number, names in ((1, ["si_sw"]), (2, ["si_sw", "emt_alloys"]), (3, present[::-1])):
        toy = Suite.read({**few, "most": {"datasets": number}}, CONFIG)
        assert toy.datasets_of("losses_by_size") == names
        kept = [run for run in every.runs_of("losses_by_size") if run.dataset in names]
        assert toy.runs_of("losses_by_size") == kept
        assert {run.dataset for run in kept} == set(names)


RUNS = "ablations/losses_by_size.yaml"
LABELS = "ablations/label_exponent.yaml"
Path_ = tuple[str | int, ...]

MISTAKES: dict[str, tuple[str, Path_, Any, tuple[str, ...]]] = {
    "misspelt key": (RUNS, ("dataset",), ["si_sw"], ("dataset", "datasets")),
    "misspelt key of the runs": (
        RUNS,
        ("runs", "energy_loses"),
        ["raw"],
        ("energy_loses", "energy_losses"),
    ),
    "misspelt key of a claim": (RUNS, ("claims", 0, "margn"), 1, ("margn", "margin")),
    "misspelt key of the training": (
        "config.yaml",
        ("training", "n_step"),
        1,
        ("n_step", "n_steps"),
    ),
    "misspelt key of the suite": ("config.yaml", ("seed",), [1], ("seed", "seeds")),
    "misspelt key of a model": ("models/schnet.yaml", ("cutof",), 5, ("cutof", "cutoff")),
    "misspelt key of a dataset": ("datasets/labels.yaml", ("kinds",), "labels", ("kinds", "kind")),
    "wrong type": ("config.yaml", ("training", "n_steps"), "many", ("training.n_steps", "'many'")),
    "negative number": ("models/schnet.yaml", ("cutoff",), -1, ("cutoff", "-1", "greater than 0")),
    "infinite number": ("models/schnet.yaml", ("cutoff",), float("inf"), ("cutoff", "inf")),
    "share beyond one": ("config.yaml", ("training", "signal_at"), [0, 2], ("signal_at", "2")),
    "no share at the end": (
        "config.yaml",
        ("training", "signal_at"),
        [0.0, 0.5],
        ("signal_at", "1.0"),
    ),
    "unknown option": (
        "ablations/label_exponent.yaml",
        ("claims", 0, "options"),
        {"estimatr": "gamma"},
        ("estimatr", "estimator"),
    ),
    "unknown value of an option": (
        "ablations/label_exponent.yaml",
        ("claims", 0, "options"),
        {"estimator": "gama"},
        ("gama", "gamma"),
    ),
    "no seed": ("config.yaml", ("seeds",), [], ("seeds", "at least 1")),
    "unknown representation": (
        "models/schnet.yaml",
        ("representation",),
        "shcnet",
        ("representation", "'shcnet'", "'schnet' or 'painn'"),
    ),
    "unknown dataset": (RUNS, ("datasets",), ["si_ws"], ("datasets", "'si_ws'", "si_sw")),
    "unknown model": (RUNS, ("runs", "models"), ["shcnet"], ("runs.models", "'shcnet'", "painn")),
    "unknown energy loss": (
        RUNS,
        ("runs", "energy_losses"),
        ["raw", "per_atom", "standardized", "rwa"],
        ("runs.energy_losses", "'rwa'", "per_atom, raw, sqrt_n"),
    ),
    "unknown force loss": (
        RUNS,
        ("runs", "force_losses"),
        ["per_atom"],
        ("runs.force_losses", "'per_atom'", "raw, standardized"),
    ),
    "unknown metric": (RUNS, ("runs", "metrics"), ["mes"], ("metrics", "'mes'", "'mse'", "huber")),
    "unknown statistic": (
        LABELS,
        ("claims", 0, "statistic"),
        "label_exponnet",
        ("statistic", "'label_exponnet'", "label_exponent"),
    ),
    "unknown loss of a claim": (
        RUNS,
        ("claims", 0, "losses"),
        ["standardised"],
        ("losses", "'standardised'", "standardized"),
    ),
    "unknown relation": (LABELS, ("claims", 0, "relation"), "is", ("relation", "'is'", "'equals'")),
    "unknown claim": (LABELS, ("claims", 0, "claim"), "C13", ("claim", "'C13'", "pattern")),
    "unknown verdict": (LABELS, ("claims", 0, "must_be"), "true", ("must_be", "'supported'")),
    "missing key": (LABELS, ("question",), None, ("question",)),
    "trainings without structures": (RUNS, ("datasets",), ["labels"], ("'labels'", "si_sw")),
    "statistic of runs without runs": (RUNS, ("runs",), None, ("standardized", "without runs")),
    "unknown setting to vary": (
        RUNS,
        ("runs", "vary"),
        {"cutof": [3]},
        ("vary", "'cutof'", "cutoff"),
    ),
    "value that cannot be": (RUNS, ("runs", "vary"), {"cutoff": [-3]}, ("cutoff", "-3")),
    "unknown kind of dataset": (
        "datasets/labels.yaml",
        ("kind",),
        "lables",
        ("kind", "'lables'", "labels"),
    ),
    "unknown dataset of the suite": ("config.yaml", ("datasets",), ["x"], ("datasets", "'x'")),
    "unknown ablation": ("config.yaml", ("ablations",), ["x"], ("ablations", "'x'")),
}


def edited(folder: Path, file: str, place: Path_, value: object) -> None:
    content = yaml.safe_load((folder / file).read_text())
    holder = content
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    (folder / file).write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(tmp_path: Path, mistake: str) -> None:
    file, place, value, words = MISTAKES[mistake]
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    edited(folder, file, place, value)
    with pytest.raises(PeslossError) as error:
        Suite.read(read_yaml(folder / "config.yaml"), folder)
    message = str(error.value)
    assert "\n" not in message
    for word in (file.split("/")[-1], *words):
        assert word in message


def test_the_same_claim_twice_is_named(tmp_path: Path) -> None:
    content = read_yaml(CONFIG / LABELS)
    content["claims"].append(content["claims"][0])
    with pytest.raises(PeslossError) as error:
        parse(Ablation, content, "a.yaml")
    claim = content["claims"][0]
    twice = f"claims: {claim['claim']} {claim['statistic']} is listed twice; allowed: once"
    assert str(error.value) == f"a.yaml: {twice}"


@pytest.mark.parametrize("text", [b"a: [1", b"\tx: 1", b"\xff\xfe\x00", b"- 1", b"text"])
def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(text)
    with pytest.raises(PeslossError) as error:
        load(ModelSpec, path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PeslossError, match="no such file"):
        load(ModelSpec, tmp_path / "x.yaml")


def test_the_error_of_a_wrong_value() -> None:
    error = wrong_value("a.yaml", "loss", "rwa", ["raw", "sqrt_n"])
    assert str(error) == "a.yaml: loss is 'rwa'; allowed: raw, sqrt_n"
