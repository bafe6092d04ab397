"""Titles, words, expected values and margins stand beside the thing, and a claim may use them."""

from pathlib import Path

import pytest
import yaml
from conftest import MODEL, SPEC, failure
from test_closure import code_of

from pesloss.claims import measures
from pesloss.claims.measures import claims_of, label_exponent, usual_values
from pesloss.data.spec import load_dataset_spec
from pesloss.plan.suite import Suite
from pesloss.report import wording
from pesloss.report.wording import called
from pesloss.spec.config import Ablation, ClaimSpec
from pesloss.spec.config_files import read_names
from pesloss.spec.names import Names, claim_number, is_claim, titles
from pesloss.spec.run import Run, settings_of
from pesloss.spec.settings import ModelSpec
from pesloss.spec.yaml_models import load, load_all, read_yaml

CONFIG = Path(__file__).parents[1] / "config"
ABLATIONS = load_all(Ablation, CONFIG / "ablations")
BY_OPTION = ("EXPECTED", "MARGIN", "WHY")


def asked(**about: object) -> Ablation:
    """An ablation with one claim about the exponent of labels."""
    claim = {"claim": "C2", "statistic": "label_exponent", **about}
    return Ablation.model_validate({"question": "?", "datasets": ["labels"], "claims": [claim]})


@pytest.mark.parametrize("name", measures.names())
def test_a_statistic_says_what_it_expects_and_why(name: str) -> None:
    module = measures.load(name)
    known = {f"{key}={value}" for key, values in getattr(module, "OPTIONS", {}).items()
             for value in values}  # fmt: skip
    assert set(getattr(module, "WORDS", {})) <= known
    for constant in BY_OPTION:
        said = getattr(module, constant)
        if isinstance(said, dict):
            assert set(said) <= {*known, ""}, constant
            assert "" in said, constant
    for option in [*known, None]:
        key, _, value = (option or "").partition("=")
        usual = usual_values(name, {key: value} if option and value else {})
        assert usual["margin"] >= 0
        assert isinstance(usual["expected"], int | float)
        assert usual["why"].endswith(".")


@pytest.mark.parametrize("name", ABLATIONS)
def test_no_claim_repeats_what_its_statistic_says(name: str) -> None:
    """So an ablation shows what is special about it; the usual stands in one place."""
    written = ABLATIONS[name].claims
    for claim, found in zip(written, claims_of(ABLATIONS[name], name), strict=True):
        usual = usual_values(claim.statistic, claim.options)
        for key in ("expected", "margin"):
            own = getattr(claim, key)
            assert own is None or own != usual[key], f"{claim} {key}"
            assert getattr(found, key) == (usual[key] if own is None else own)
        same = claim.model_copy(update={k: float(usual[k]) for k in ("expected", "margin")
                                        if getattr(claim, k) is None})  # fmt: skip
        spelt_out = ABLATIONS[name].model_copy(update={"claims": (same,)})
        of_same = claims_of(spelt_out, name)[0]
        assert of_same.model_copy(update={"why": found.why}) == found


def test_a_value_of_ones_own_counts_and_is_not_explained_by_the_statistic() -> None:
    (usual,) = claims_of(asked(), "a.yaml")
    assert (usual.expected, usual.margin) == (0.5, 0.1)
    assert usual.why == label_exponent.WHY
    (other,) = claims_of(asked(expected=1), "a.yaml")
    assert (other.expected, other.margin, other.why) == (1.0, 0.1, None)
    (told,) = claims_of(asked(margin=0.2, why="Wide."), "a.yaml")
    assert (told.expected, told.margin, told.why) == (0.5, 0.2, "Wide.")


def test_values_follow_the_options() -> None:
    expected = {"mean": (0, 0.1), "variance": (1, 0.2), "tail": (0.01, 0.01)}
    for moment, (value, margin) in expected.items():
        (claim,) = claims_of(asked(statistic="label_moment", options={"moment": moment}), "a.yaml")
        assert (claim.expected, claim.margin) == (value, margin)
    (default,) = claims_of(asked(statistic="label_moment"), "a.yaml")  # the variance
    assert (default.expected, default.margin) == (1, 0.2)


def test_a_statistic_that_expects_nothing_has_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(label_exponent, "EXPECTED")
    message = failure(lambda: claims_of(asked(), "config/ablations/a.yaml"))
    assert message.startswith("config/ablations/a.yaml: claims.0.expected is missing; ")
    assert "label_exponent has none" in message
    assert claims_of(asked(expected=0.7), "a.yaml")[0].expected == 0.7


def test_a_claim_that_spells_out_the_usual_value_of_another_is_the_same() -> None:
    ablation = asked()
    twice = ablation.claims + asked(expected=0.5).claims
    message = failure(lambda: claims_of(ablation.model_copy(update={"claims": twice}), "a.yaml"))
    assert message == "a.yaml: claims: C2 label_exponent is listed twice; allowed: once"


def test_a_title_is_no_part_of_what_is_computed(tmp_path: Path) -> None:
    """Rules have the dumps as parameters: another title must not plan them again."""
    for path in sorted((CONFIG / "datasets").glob("*.yaml")):
        kept = "\n".join(
            line for line in path.read_text("utf-8").splitlines()
            if not line.startswith(("title:", "place:"))
        )  # fmt: skip
        (tmp_path / path.name).write_text(kept, encoding="utf-8")
    for path in sorted((CONFIG / "datasets").glob("*.yaml")):
        named, nameless = load_dataset_spec(path), load_dataset_spec(tmp_path / path.name)
        assert named.title
        assert nameless.title is None
        assert named.model_dump() == nameless.model_dump()
        assert named.described() == nameless.described()
    model = MODEL.model_copy(update={"title": "Mine", "place": 3})
    assert model.model_dump() == MODEL.model_dump()
    run = Run("si_sw", "schnet", "raw", changes=(("n_features", 4.0),))
    assert settings_of(run, model, SPEC) == settings_of(run, MODEL, SPEC)


@pytest.mark.parametrize("key", ["title", "place"])
def test_a_name_is_no_setting_that_varies(key: str) -> None:
    grid = {"vary": {key: [1.0]}}
    with pytest.raises(ValueError, match=rf"no key '{key}'; allowed: batch_size"):
        Ablation.model_validate({**asked().model_dump(), "runs": grid})


@pytest.mark.parametrize("title", ["a | b", "a\nb", "$x$", "", "x" * 201])
def test_a_title_fits_into_tables_and_figures(title: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    content = {"title": title, "representation": "schnet"}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert failure(lambda: load(ModelSpec, path)).startswith(f"{path}: title is ")
    path.write_text(yaml.safe_dump({**content, "title": "E′ ∝ √N, <b>"}), encoding="utf-8")
    assert load(ModelSpec, path).title == "E′ ∝ √N, <b>"


def test_things_stand_by_place_then_by_name_and_nameless_ones_after_them() -> None:
    def model(**about: object) -> ModelSpec:
        return ModelSpec.model_validate({"representation": "schnet", **about})

    things = {
        "b": model(place=2, title="Second"),
        "z_z": model(place=1),
        "c": model(title="Late"),
        "a": model(),
    }
    found = titles(things)
    assert list(found.items()) == [("z_z", "z z"), ("b", "Second"), ("c", "Late")]
    with called(Names(models=found)):
        assert wording.models(["a", "c", "b", "z_z", "b"]) == ["z_z", "b", "c", "a"]
        assert wording.dataset("x_y", "b") == "x y, Second"


def test_titles_are_known_inside_alone(names: Names) -> None:
    assert wording.dataset("si_sw") == "si sw"
    with called(names):
        assert wording.dataset("si_sw") == "silicon, varied"
        with called(Names(datasets={"si_sw": "mine"})):
            assert wording.dataset("si_sw") == "mine"
        assert wording.claim("C2") == "C2 label deviations grow as √N"
        assert wording.dataset("several") == "several data sets"
    assert wording.claim("C2") == "C2"


def test_names_go_through_the_parameter_of_a_rule_in_their_order(names: Names) -> None:
    again = Names.of(names.plain())
    assert again == names
    for kind in ("datasets", "models", "claims"):
        assert list(getattr(again, kind)) == list(getattr(names, kind))


def test_the_suite_names_all_it_uses(names: Names) -> None:
    suite = Suite.read(read_yaml(CONFIG / "config.yaml"), CONFIG)
    assert list(suite.names.datasets) == list(names.datasets)
    for name, ablation in ABLATIONS.items():
        assert suite.ablations[name].claims == claims_of(ablation, name)
    assert set(suite.names.datasets) == set(suite.datasets)
    assert set(suite.names.models) == set(suite.models)
    numbers = [claim_number(name) for name in names.claims]
    assert numbers == sorted(numbers)
    assert [name for name in names.claims if is_claim(name)] == [f"C{n}" for n in range(1, 13)]


@pytest.mark.parametrize("name", ["X1", "C0", "C01", "claim", "q1"])
def test_a_claim_has_a_letter_and_a_number(name: str, tmp_path: Path) -> None:
    for folder in ("datasets", "models", "claims"):
        (tmp_path / folder).mkdir()
    (tmp_path / "claims" / f"{name}.yaml").write_text("title: x\n", encoding="utf-8")
    message = failure(lambda: read_names(tmp_path))
    assert message.startswith(f"{tmp_path / 'claims'}: file is '{name}.yaml'; allowed: C or Q and")


def test_a_claim_is_one_file(tmp_path: Path) -> None:
    for folder in ("datasets", "models", "claims"):
        (tmp_path / folder).mkdir()
    for name in ("Q1", "C13", "C2"):
        (tmp_path / "claims" / f"{name}.yaml").write_text(f"title: says {name}\n", encoding="utf-8")
    found = read_names(tmp_path).claims
    assert list(found.items()) == [("C2", "says C2"), ("C13", "says C13"), ("Q1", "says Q1")]


def test_claims_do_not_look_up_to_the_report() -> None:
    files = code_of("pesloss.claims.collect", "pesloss.claims.job", "pesloss.claims.advice")
    assert [file for file in files if "/report/" in file or "/plan/" in file] == []


def test_a_claim_spec_may_leave_out_its_values() -> None:
    claim = ClaimSpec.model_validate({"claim": "C2", "statistic": "label_exponent"})
    assert (claim.expected, claim.margin, claim.why) == (None, None, None)
