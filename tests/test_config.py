"""Every file under config/ is valid, and every mistake in one is a single line that names it."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from conftest import failure
from pydantic import ValidationError

from pesloss.claims.measures import claims_of
from pesloss.data.kinds import emt_alloys
from pesloss.data.spec import kind_module, kind_names, load_dataset_spec
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.plan.suite import Suite
from pesloss.spec.config import Ablation, ClaimSpec, MoreSeeds, RunGrid, SuiteConfig
from pesloss.spec.config_files import as_typed
from pesloss.spec.names import ClaimText
from pesloss.spec.settings import ModelSpec, typed
from pesloss.spec.yaml_files import named_files
from pesloss.spec.yaml_models import Strict, load, load_all, parse, read_yaml

CONFIG = Path(__file__).parents[1] / "config"
READERS: dict[str, Callable[[Path], object]] = {
    "datasets": load_dataset_spec,
    "models": lambda path: load(ModelSpec, path),
    "ablations": lambda path: load(Ablation, path),
    "claims": lambda path: load(ClaimText, path),
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
    for claim in claims_of(ablation, path.stem):
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
    "unknown claim": (
        LABELS,
        ("claims", 0, "claim"),
        "C13",
        ("claims.0.claim", "C12, Q1"),
    ),
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
    "seed twice": ("config.yaml", ("seeds",), [0, 1, 0], ("seeds", "0 is listed twice")),
    "negative seed": ("config.yaml", ("seeds",), [-1], ("seeds.0", "-1", "greater than or equal")),
    "huge seed": ("config.yaml", ("seeds",), [2**40], ("seeds.0", str(2**40), "less than")),
    "yes as a number": ("config.yaml", ("seeds",), [True], ("seeds.0", "True", "integer")),
    "text as a number": ("config.yaml", ("n_parts",), "3", ("n_parts", "'3'", "without quotes")),
    "fraction as a whole number": ("config.yaml", ("n_parts",), 3.0, ("n_parts", "3.0", "integer")),
    "number as a yes": ("config.yaml", ("sweep_everywhere",), 1, ("sweep_everywhere", "boolean")),
    "number as text": (LABELS, ("question",), 5, ("question", "5", "string")),
    "not a number": ("config.yaml", ("force_weights",), [float("nan")], ("force_weights.0", "nan")),
    "weight twice": (
        "config.yaml",
        ("force_weights",),
        [1, 1.0],
        ("force_weights", "listed twice"),
    ),
    "steps without end": (
        "config.yaml",
        ("training", "n_steps"),
        10**18,
        ("training.n_steps", str(10**18), "less than or equal to 10000000"),
    ),
    "one resample": ("config.yaml", ("n_resamples",), 1, ("n_resamples is 1;", "equal to 100")),
    "resamples without end": ("config.yaml", ("n_resamples",), 10**12, ("n_resamples", "1000000")),
    "unknown preset": ("config.yaml", ("preset",), "defualt", ("preset is 'defualt'", "default, ")),
    "misspelt split": (
        "config.yaml",
        ("splits",),
        {"trian": 0.6, "validation": 0.2, "test": 0.2},
        ("splits.trian", "'train', 'validation' or 'test'"),
    ),
    "missing split": (
        "config.yaml",
        ("splits",),
        {"train": 0.6, "test": 0.4},
        ("splits.validation is missing", "train, validation, test"),
    ),
    "negative split": (
        "config.yaml",
        ("splits",),
        {"train": 1.1, "validation": -0.2, "test": 0.1},
        ("splits.train is 1.1", "less than 1"),
    ),
    "splits beyond one": (
        "config.yaml",
        ("splits",),
        {"train": 0.6, "validation": 0.2, "test": 0.3},
        ("splits add up to 1.1; allowed: 1",),
    ),
    "preset without a number of structures": (
        "datasets/labels.yaml",
        ("n_structures",),
        {"defualt": 100, "smoke": 50},
        ("n_structures: preset is 'default'; allowed: defualt, smoke",),
    ),
    "two structures": (
        "datasets/labels.yaml",
        ("n_structures",),
        2,
        ("n_structures is 2", "3 or more"),
    ),
    "limits the wrong way": (
        "datasets/si_sw.yaml",
        ("recipe",),
        {"rattle": [0.2, 0.1]},
        ("recipe: rattle", "[0.2, 0.1]", "lower limit first"),
    ),
    "no size for a crystal": (
        "datasets/si_sw.yaml",
        ("recipe",),
        {"max_atoms_crystal": {"fcc": 8}},
        ("recipe: max_atoms_crystal has no 'diamond'",),
    ),
    "clusters that do not fit": (
        "datasets/xtb_varied.yaml",
        ("recipe",),
        {"max_atoms": 3, "max_kinds": 1},
        ("min_atoms, max_atoms are 3, 3", "two molecules fit, 4 atoms"),
    ),
    "cutoff that names no file": (
        "models/schnet.yaml",
        ("cutoff",),
        5.0000001,
        ("cutoff is 5.0000001", "six digits"),
    ),
    "no times at all": (
        RUNS,
        ("runs", "vary"),
        {"n_steps": ["0x"]},
        ("runs.vary", "n_steps is '0x'", "multiples above 0"),
    ),
    "times a negative number": (
        RUNS,
        ("runs", "vary"),
        {"n_steps": ["-1x"]},
        ("vary.n_steps.0", "'-1x'"),
    ),
    "half a step": (
        RUNS,
        ("runs", "vary"),
        {"batch_size": ["0.25x"]},
        ("runs.vary: batch_size is 2.5", "integer"),
    ),
    "neither yes nor no": (
        RUNS,
        ("runs", "vary"),
        {"term_constants": [2]},
        ("runs.vary", "term_constants is 2", "allowed: 0 and 1"),
    ),
    "more runs than anybody has": (
        RUNS,
        ("runs", "seeds"),
        list(range(10_000)),
        ("runs are 480000 trainings; allowed: up to 100000",),
    ),
    "losses of labels": (
        RUNS,
        ("claims", 0),
        {
            "claim": "C2",
            "statistic": "label_exponent",
            "losses": ["raw"],
            "expected": 0.5,
            "margin": 0.1,
        },
        ("claims.0.losses", "'raw'", "label_exponent is about labels"),
    ),
    "negative margin": (LABELS, ("claims", 0, "margin"), -0.1, ("claims.0.margin", "-0.1")),
    "certainty": (LABELS, ("claims", 0, "level"), 1, ("claims.0.level is 1", "0.9999")),
    "wrong type of an option": (
        LABELS,
        ("claims", 0, "options"),
        {"estimator": 1},
        ("option estimator", "1", "gamma"),
    ),
    "results outside": (
        "config.yaml",
        ("pathvars",),
        {"results": "../x"},
        ("pathvars", "results is '../x'", "without '..'"),
    ),
    "no results": ("config.yaml", ("pathvars",), {"results": ""}, ("results is ''", "folder")),
    "results in the code": ("config.yaml", ("pathvars",), {"results": "src/x"}, ("'src/x'", "src")),
    "unknown path": (
        "config.yaml",
        ("pathvars",),
        {"result": "x"},
        ("pathvars.result", "'results'"),
    ),
    "ablation that nothing is left of": (
        "config.yaml",
        ("ablations",),
        ["control_one_size"],
        ("ablations is 'control_one_size'", "datasets si_sw"),
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


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of config/."""
    shutil.copytree(CONFIG, tmp_path / "config")
    return tmp_path / "config"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(tmp_path: Path, mistake: str) -> None:
    file, place, value, words = MISTAKES[mistake]
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    edited(folder, file, place, value)
    settings = read_yaml(folder / "config.yaml")
    if mistake == "ablation that nothing is left of":
        settings["datasets"] = ["si_sw"]
    with pytest.raises(PeslossError) as error:
        Suite.read(settings, folder)
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


NO_YAML: dict[str, tuple[bytes, str]] = {
    "unfinished": (b"a: [1", "line 1: not YAML"),
    "tab": (b"\tx: 1", "line 1: not YAML"),
    "UTF-16": (b"\xff\xfe\x00", "no UTF-8 text: byte 0xff at place 1"),
    "Latin-1": ("a: Å".encode("latin-1"), "no UTF-8 text: byte 0xc5 at place 4"),
    "NUL": (b"a: \x00", "not YAML"),
    "list": (b"- 1", "content is [1]; allowed: keys with values"),
    "text": (b"text", "content is 'text'; allowed: keys with values"),
    "number": (b"0", "content is 0;"),
    "empty": (b"", "content is empty"),
    "comment": (b"# x\n", "content is empty"),
    "null": (b"null", "content is empty"),
    "empty list": (b"[]", "content is []"),
    "two documents": (b"a: 1\n---\na: 2\n", "line 2: not YAML (but found another document)"),
    "repeated key": (b"a: 1\nb: 2\na: 3\n", "line 3: key 'a' is repeated; allowed: once"),
    "repeated key in quotes": (b"a: 1\n'a': 3\n", "line 2: key 'a' is repeated"),
    "repeated key within": (b"b:\n  - c: {a: 1, d: 2, a: 1}\n", "line 2: key 'a' is repeated"),
    "merged twice": (b"b: &b {a: 1}\nc:\n  <<: *b\n  <<: *b\n", "line 4: key '<<' is repeated"),
    "number as a key": (b"1: 2", "line 1: key is '1'; allowed: text"),
    "yes as a key": (b"No: 2", "line 1: key is 'No'; allowed: text, in quotes"),
    "list as a key": (b"? [a]\n: 2", "line 1: key is no text"),
    "no key": (b"? \n: 2", "line 1: key is ''; allowed: text"),
    "tag": (b"a: !!python/name:os.system", "line 1: tag is"),
    "date that is none": (b"a: !!timestamp x", "line 1: tag is"),
    "alias of itself": (b"a: &a [*a]", "line 1: alias 'a' stands within itself"),
    "unknown alias": (b"a: *b", "line 1: not YAML (found undefined alias 'b')"),
    "number of 5,000 digits": (b"a: " + b"9" * 5000, "not YAML (Exceeds the limit"),
    "depth": (b"a: " + b"[" * 5000, "not YAML (values within values without end)"),
    "size": (b"# " + b"x" * 3_000_000, "size is 3000002 bytes; allowed: up to 2000000 bytes"),
    "billion laughs": (
        b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 10)) for c in range(98, 108)
        ),
        "more than 100000 values",
    ),
}


@pytest.mark.parametrize("kind", NO_YAML)
def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, kind: str) -> None:
    path, (text, said) = tmp_path / "x.yaml", NO_YAML[kind]
    path.write_bytes(text)
    message = failure(lambda: load(ModelSpec, path))
    assert message.startswith(f"{path}: ")
    assert said in message
    assert len(message) < 400


def test_yaml_is_read_as_it_looks(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(
        b"\xef\xbb\xbfa: [1e-3, 1.0e3, .5, -7, 010, 1_0, 1:30, 2020-01-01, 0x1F, 1.]\n"
        b"b: &b {c: yes}\nd: {<<: *b, e: *b}\n"
    )
    found = read_yaml(path)
    assert found["a"] == [0.001, 1000, 0.5, -7, "010", "1_0", "1:30", "2020-01-01", "0x1F", 1.0]
    assert found["d"] == {"c": True, "e": {"c": True}}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PeslossError, match="no such file"):
        load(ModelSpec, tmp_path / "x.yaml")


def test_only_a_file_is_read_and_nothing_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "device.yaml").symlink_to("/dev/zero")
    (tmp_path / "beyond.yaml").symlink_to(CONFIG / "config.yaml" / "x")
    for name, said in (
        ("folder", "not a file"),
        ("pipe", "not a file"),
        ("device", "not a file"),
        ("loop", "cannot be read (Too many levels of symbolic links)"),
        ("beyond", "cannot be read (Not a directory)"),
    ):
        path = tmp_path / f"{name}.yaml"
        assert failure(partial(load, ModelSpec, path)).startswith(f"{path}: {said}")


STRAYS = [
    "x.yml", "x.YAML", "x.json", "x", "x.yaml.bak", "x y.yaml", "a{b}.yaml", "ü.yaml", "a.b.yaml",
    "-x.yaml", "x\n.yaml", "|.yaml",
]  # fmt: skip


@pytest.mark.parametrize("name", STRAYS)
def test_what_would_be_ignored_in_silence_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "good-1.yaml").write_text("x")
    for backup in (".x.yaml.swp", "x.yaml~", "#x.yaml#", ".DS_Store", "README.md"):
        (tmp_path / backup).write_text("x")
    assert named_files(tmp_path) == {"good-1": tmp_path / "good-1.yaml"}
    (tmp_path / name).write_text("x")
    said = f"{tmp_path}: file is {name!r}; allowed: NAME.yaml, NAME of letters, digits, _ and -"
    assert failure(lambda: named_files(tmp_path)) == said


@pytest.mark.parametrize("place", ["ablations", "claims", "datasets", "models", "presets"])
def test_no_folder_of_the_suite_has_other_files(copied: Path, place: str) -> None:
    (copied / place / "x.yml").write_text("x")
    message = failure(lambda: Suite.read(read_yaml(copied / "config.yaml"), copied))
    assert message.startswith(f"{copied / place}: file is 'x.yml'; allowed: NAME.yaml")


@pytest.mark.parametrize(
    "name", ["config.yml", "more_seeds.yml", "Config.yaml", "dataset/", "x.yml"]
)
def test_what_looks_like_configuration_is_refused(copied: Path, name: str) -> None:
    (copied / name).mkdir() if name.endswith("/") else (copied / name).write_text("x: 1")
    message = failure(lambda: Suite.read(read_yaml(copied / "config.yaml"), copied))
    assert message.startswith(f"{copied}: file is {name.rstrip('/')!r}; allowed: config.yaml, ")


def test_settings_are_checked_file_by_file(copied: Path) -> None:
    files = [copied / "config.yaml", copied / "presets/smoke.yaml"]
    merged = {**read_yaml(files[0]), **read_yaml(files[1])}
    assert Suite.read(merged, copied, files=files).config.preset == "smoke"
    wrong = {**merged, "splits": {"train": 0.9}}
    said = failure(lambda: Suite.read(wrong, copied, files=files))
    assert said.startswith(f"{files[0]}, {files[1]} with --config: splits.validation is missing")
    asked = failure(lambda: Suite.read({**merged, "preset": "x"}, copied, files=files))
    assert asked.startswith(
        f"{files[0]}, {files[1]} with --config: preset is 'x'; allowed: default"
    )
    files[1].write_text(files[1].read_text() + "preset: full\n")
    repeated = failure(lambda: Suite.read(merged, copied, files=files))
    assert re.fullmatch(rf"{files[1]}: line \d+: key 'preset' is repeated; allowed: once", repeated)
    files[1].write_text("preset: fulll\n")
    unknown = failure(lambda: Suite.read({**merged, "preset": "fulll"}, copied, files=files))
    assert unknown == f"{files[1]}: preset is 'fulll'; allowed: default, full, smoke"


def test_settings_of_the_command_line_are_typed_as_in_files() -> None:
    given = {"training": {"n_steps": "5", "learning_rate": "1e-3"}, "seeds": ["0", "1"], "most": {}}
    typed = {"training": {"n_steps": 5, "learning_rate": 0.001}, "seeds": [0, 1], "most": {}}
    assert as_typed(given) == typed
    assert as_typed({"a": "x y", "b": "true", "c": "a: b", "d": None, "e": "010"}) == {
        "a": "x y",
        "b": True,
        "c": "a: b",
        "d": None,
        "e": "010",
    }


def test_results_cannot_be_where_a_file_is(copied: Path) -> None:
    (copied.parent / "taken").write_text("x")
    for name in ("taken", "taken/x"):
        config = {**read_yaml(copied / "config.yaml"), "pathvars": {"results": name}}
        message = failure(partial(Suite.read, config, copied))
        assert f"pathvars.results is {name!r}; allowed: a folder, but " in message


def specifications(base: type[Strict] = Strict) -> Iterator[type[Strict]]:
    for kind in kind_names():
        kind_module(kind)
    for spec in base.__subclasses__():
        yield spec
        yield from specifications(spec)


def fields_with(*types: type) -> list[tuple[type[Strict], str]]:
    return [
        (spec, name)
        for spec in specifications()
        for name, field in spec.model_fields.items()
        if any(kind in types for kind in types_in(field.annotation))
    ]


def types_in(annotation: Any) -> Iterator[Any]:
    yield get_origin(annotation) or annotation
    for inner in get_args(annotation):
        yield from types_in(inner)


def refused(spec: type[Strict], name: str, value: object) -> str:
    """Return what a field of a specification is refused with, whatever else is missing."""
    try:
        spec.model_validate({name: value})
    except ValidationError as error:
        return "; ".join(e["msg"] for e in error.errors() if e["loc"] and e["loc"][0] == name)
    return ""


NOTHING_VANISHES = {  # empty as when left out, which is what is meant then
    "RunGrid.vary": "no setting is varied",
    "RunGrid.tuned": "no setting is tuned",
    "ClaimSpec.options": "a statistic's own",
    "Claim.options": "a statistic's own",
    "SuiteConfig.pathvars": "results",
    "MoreSeeds.seeds": "no further seeds",
    "DatasetSpec.recipe": "a kind's own",
    "Source.files": "another origin has to be named",
    "Source.paths": "another origin has to be named",
    "Recipe.correlations": "no correlations",
    "PhaseRule.labels": "phases as the file has them",
}


def test_no_list_and_no_mapping_may_be_empty() -> None:
    """With an empty list the runs and claims it is a factor of would vanish without a word."""
    found = fields_with(tuple, dict, list, set)
    assert len(found) > 40
    allowed = set()
    for spec, name in found:
        said = [refused(spec, name, []), refused(spec, name, {})]
        if not all(said):
            allowed.add(f"{spec.__name__}.{name}")
            assert spec.model_fields[name].get_default() in ((), {})
    assert allowed == set(NOTHING_VANISHES)


def test_no_list_within_may_be_empty() -> None:
    assert "empty" in refused(RunGrid, "vary", {"n_steps": []})
    assert "empty" in refused(MoreSeeds, "seeds", {"default": {}})


def test_no_entry_may_be_listed_twice() -> None:
    for name, value in (("seeds", [1, 0, 1]), ("force_weights", [1, 1.0]), ("models", ["a", "a"])):
        assert "is listed twice; allowed: once" in refused(RunGrid, name, value)
    assert "'5x' is listed twice" in refused(RunGrid, "vary", {"n_steps": ["5x", 3, "5x"]})
    assert "is listed twice" in refused(ClaimSpec, "groups", ["a", "b", "a"])
    assert refused(emt_alloys.Recipe, "rattle", [0.1, 0.1]) == ""  # two limits


def test_no_type_is_guessed() -> None:
    """A yes is no number, a text no number, a fraction not whole, a number no yes and no text."""
    for spec in specifications():
        for name, field in spec.model_fields.items():
            kinds = set(types_in(field.annotation))
            if int in kinds and float not in kinds:
                assert all(refused(spec, name, value) for value in (True, "3", 3.0, [True], ["3"]))
            if float in kinds:
                assert all(refused(spec, name, value) for value in (True, float("nan"), [True]))
            if field.annotation is bool:
                assert all(refused(spec, name, value) for value in (0, 1, "yes", "true"))
            if field.annotation is str:
                assert all(refused(spec, name, value) for value in (0, True, b"x", ["x"]))


def test_settings_keep_their_type_when_varied() -> None:
    assert typed("term_constants", 0.0) is False
    assert type(typed("n_steps", 7.0)) is int
    assert typed("cutoff", 3.5) == 3.5


def test_the_error_of_a_wrong_value() -> None:
    error = wrong_value("a.yaml", "loss", "rwa", ["raw", "sqrt_n"])
    assert str(error) == "a.yaml: loss is 'rwa'; allowed: raw, sqrt_n"
