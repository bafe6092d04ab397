"""Datasets that are parts of others."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Tiny, failure

from pesloss.data.kinds.subset import Recipe, choose
from pesloss.data.spec import load_dataset_spec
from pesloss.data.store import read_structures, structure_table, write_structures
from pesloss.plan.suite import Suite
from pesloss.spec.yaml_models import read_yaml

CONFIG = Path(__file__).parents[1] / "config"
RECIPES: dict[str, dict[str, Any]] = {
    "all": {},
    "small": {"max_atoms": 5},
    "large": {"min_atoms": 6},
    "pure": {"species": ("Cu",)},
    "phase": {"phases": ("crystal",)},
    "several": {"min_atoms": 3, "max_atoms": 6, "phases": ("cluster",)},
}


@pytest.mark.parametrize("name", RECIPES)
def test_structures_are_taken_as_they_are_and_the_others_named(name: str, tiny: Tiny) -> None:
    recipe = Recipe.model_validate({"of": "tiny", **RECIPES[name]})
    chosen, left_out = choose(recipe, tiny.structures)
    wanted = [
        atoms
        for atoms in tiny.structures
        if (recipe.min_atoms or 0) <= len(atoms) <= (recipe.max_atoms or 99)
        and (recipe.species is None or set(atoms.symbols) <= set(recipe.species))
        and (recipe.phases is None or atoms.info["phase"] in recipe.phases)
    ]
    assert [id(atoms) for atoms in chosen] == [id(atoms) for atoms in wanted]
    names = [atoms.info["structure"] for atoms in chosen] + list(left_out.structure)
    assert sorted(names) == sorted(atoms.info["structure"] for atoms in tiny.structures)
    assert left_out.reason.str.len().gt(0).all()


def test_the_parts_of_a_split_by_size_are_the_whole(tiny: Tiny) -> None:
    parts = [
        choose(Recipe(of="tiny", **RECIPES[n]), tiny.structures)[0] for n in ("small", "large")
    ]
    assert sum(map(len, parts)) == len(tiny.structures)


def test_labels_survive_the_disk(tiny: Tiny, tmp_path: Path) -> None:
    write_structures(tmp_path / "whole.xyz", tiny.structures, {"kind": "tiny"})
    chosen, _ = choose(Recipe(of="tiny", max_atoms=4), read_structures(tmp_path / "whole.xyz"))
    write_structures(tmp_path / "part.xyz", chosen, {"kind": "subset"})
    back = read_structures(tmp_path / "part.xyz")
    table = tiny.table.set_index("structure").loc[structure_table(back).structure]
    assert (structure_table(back).energy.to_numpy() == table.energy.to_numpy()).all()
    assert back[0].info["recipe"] == {"kind": "subset"}


def test_an_empty_subset_is_named_with_what_was_asked_for(tiny: Tiny) -> None:
    text = failure(lambda: choose(Recipe(of="tiny", min_atoms=50), tiny.structures, "x.yaml"))
    assert text == "x.yaml: no structure of tiny is left; asked for: of=tiny, min_atoms=50"


def card(folder: Path, **keys: str) -> Path:
    lines = ["description: d", "kind: emt_alloys", "n_structures: 9"]
    (folder / "whole.yaml").write_text("\n".join(lines), encoding="utf-8")
    lines = ["description: d", "kind: labels", "n_structures: 9"]
    (folder / "drawn.yaml").write_text("\n".join(lines), encoding="utf-8")
    text = {"description": "d", "kind": "subset", "recipe": "{of: whole}", **keys}
    lines = [f"{key}: {value}" for key, value in text.items()]
    (folder / "part.yaml").write_text("\n".join(lines), encoding="utf-8")
    return folder / "part.yaml"


def test_a_card_knows_its_parent(tmp_path: Path) -> None:
    spec = load_dataset_spec(card(tmp_path))
    assert (spec.origin, spec.parent, spec.has_forces()) == ("subset", "whole", True)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"recipe": "{of: hole}"}, "recipe.of is 'hole'; allowed: whole"),
        ({"recipe": "{of: drawn}"}, "recipe.of is 'drawn'; allowed: whole"),
        ({"recipe": "{of: part}"}, "recipe.of is 'part'; allowed: whole"),
        ({"recipe": "{max_atoms: 3}"}, "key 'of' is missing"),
        ({"recipe": "{of: whole, species: [Xx]}"}, "not the symbol of a chemical element"),
        ({"recipe": "{of: whole, min_atoms: 9, max_atoms: 3}"}, "min_atoms is 9; allowed: up to"),
        ({"n_structures": "9"}, "key 'n_structures' is given; kind 'subset' takes all there are"),
    ],
)
def test_a_wrong_card_is_refused_in_one_line(
    tmp_path: Path, keys: dict[str, str], says: str
) -> None:
    text = failure(lambda: load_dataset_spec(card(tmp_path, **keys)))
    assert "part.yaml" in text
    assert says in text


def test_a_parent_is_made_though_only_its_part_is_asked_for() -> None:
    settings = {**read_yaml(CONFIG / "config.yaml"), "datasets": ["xtb_small", "si_sw"]}
    suite = Suite.read(settings, CONFIG)
    assert set(suite.datasets) == {"xtb_small", "si_sw"}
    assert set(suite.parents) == {"xtb_varied"}
    assert suite.of_origin("generated") == ["xtb_varied", "si_sw"]
    assert suite.of_origin("subset") == ["xtb_small"]
    assert suite.kind("xtb_varied") == "pesloss.data.kinds.xtb_clusters"
    assert "xtb_varied" not in suite.datasets_in_use
