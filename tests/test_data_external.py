"""Foreign files become datasets: fetched, checked, chosen; what is left out is accounted for."""

import hashlib
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from conftest import Tiny
from originals import FOLDER as ORIGINALS

from pesloss.data.external import (
    External,
    choose,
    loaded_atoms,
    read_dataset,
    sources_of,
    supercells,
    unavailable,
)
from pesloss.data.fetch import Sources
from pesloss.data.kinds.files import Recipe
from pesloss.data.spec import DatasetSpec, load_dataset_spec
from pesloss.data.store import read_structures, write_structures
from pesloss.job.errors import PeslossError
from pesloss.spec.yaml_models import read_yaml

CONFIG = Path(__file__).parents[1] / "config" / "datasets"
CARDS = sorted(p.stem for p in CONFIG.glob("*.yaml") if read_yaml(p)["kind"] == "files")
LABELS = {"energy": "energy", "forces": "forces", "energy_unit": "eV", "length_unit": "Angstrom"}


def plain(structures: list[Atoms]) -> list[Atoms]:
    """With labels, a trajectory's name and nothing of ours."""
    copies = []
    for k, atoms in enumerate(structures):
        copy = atoms.copy()
        copy.info = {"run": f"run-{k // 4}"}
        copy.calc = atoms.calc
        copies.append(copy)
    return copies


def mirrored(structures: list[Atoms], folder: Path) -> dict[str, Any]:
    """Put a file into a mirror and return its entry in a card."""
    path = folder / "mirror" / "owner" / "data.xyz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, plain(structures), format="extxyz")
    content = path.read_bytes()
    return {
        "path": "owner/data.xyz",
        "url": "https://data.invalid/owner/data.xyz",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }


def spec_of(source: dict[str, Any], n: int | None = None, **recipe: Any) -> DatasetSpec:
    source = {"labels": LABELS, "groups": "info:run", **source}
    recipe = {"sources": [source], "rarest": 1, "limits": {"isolation": None}, **recipe}
    return DatasetSpec(description="", kind="files", n_structures=n, recipe=recipe)


def made(spec: DatasetSpec, folder: Path, **options: Any) -> External:
    sources = Sources(cache=folder / "cache", mirror=str(folder / "mirror"))
    return read_dataset(spec, "default", sources, **options)


def test_a_fetched_file_becomes_a_dataset(tiny: Tiny, tmp_path: Path) -> None:
    lines: list[str] = []
    spec = spec_of({"files": [mirrored(tiny.structures, tmp_path)]})
    found = made(spec, tmp_path, log=lines.append)
    assert len(found.structures) == len(tiny.structures)
    assert found.left_out.empty
    by_name = {str(a.info["structure"]): a for a in found.structures}
    for k, atoms in enumerate(tiny.structures):
        mine = by_name[f"owner/data.xyz@{k}"]
        assert mine.info["group"] == f"run-{k // 4}"
        assert mine.info["phase"] == "all"
        assert mine.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        assert np.allclose(mine.get_forces(), atoms.get_forces(), atol=1e-7)
    assert lines[0] == "40 structures read, 0 unreadable, 0 left out"
    write_structures(tmp_path / "s.extxyz", found.structures, spec.described())
    again = read_structures(tmp_path / "s.extxyz")
    assert again[0].info["recipe"]["sources"][0]["files"][0]["path"] == "owner/data.xyz"


def test_everything_left_out_is_named_with_its_reason(tiny: Tiny, tmp_path: Path) -> None:
    structures = plain(tiny.structures)
    broken = structures[3].copy()
    broken.info = {"run": "run-0"}
    broken.calc = SinglePointCalculator(broken, energy=np.nan, forces=np.zeros((len(broken), 3)))
    structures[3] = broken
    structures.append(structures[5])
    file = mirrored(tiny.structures, tmp_path)
    path = tmp_path / "mirror" / "owner" / "data.xyz"
    frames = []
    for atoms in structures:
        copy = atoms.copy()
        copy.info, copy.calc = {"run": "x"}, atoms.calc
        frames.append(copy)
    write(path, frames, format="extxyz")
    content = path.read_bytes()
    file |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    found = made(spec_of({"files": [file]}, n=20), tmp_path)
    reasons = found.left_out.set_index("structure").reason
    assert len(found.structures) == 20
    assert len(found.left_out) == 41 - 20
    assert "energy" in reasons["owner/data.xyz@3"]
    assert "the same structure as owner/data.xyz@5" in reasons["owner/data.xyz@40"]
    assert (reasons == "not drawn").sum() == 41 - 20 - 2
    names = {str(a.info["structure"]) for a in found.structures} | set(reasons.index)
    assert names == {f"owner/data.xyz@{k}" for k in range(41)}


def test_own_files_need_no_hash_and_forces_are_optional(tiny: Tiny, tmp_path: Path) -> None:
    frames = []
    for atoms in plain(tiny.structures):
        energy = atoms.get_potential_energy()
        atoms.calc = None
        atoms.info["dft_energy"] = energy
        frames.append(atoms)
    write(tmp_path / "mine.xyz", frames, format="extxyz")
    labels = {"energy": "dft_energy", "energy_unit": "eV", "length_unit": "Angstrom"}
    spec = spec_of({"paths": [str(tmp_path / "mine.xyz")], "labels": labels})
    assert not spec.has_forces()
    found = made(spec, tmp_path)
    assert len(found.structures) == 40
    write_structures(tmp_path / "s.extxyz", found.structures, spec.described())
    assert "forces" not in read_structures(tmp_path / "s.extxyz")[0].calc.results


@pytest.mark.parametrize("factor", [27.211386, 0.0367493, -1.0])
def test_forces_in_a_wrong_unit_end_the_job(factor: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = []
    for k in range(60):  # a spring between two atoms: close pairs whose forces fit their energies
        length = 2.0 + 0.01 * rng.normal()
        atoms = Atoms("CuAl", positions=[[0, 0, 0], [length, 0, 0]])
        force = -50.0 * (length - 2.3)
        atoms.info = {"run": f"run-{k}"}
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=-8.0 + 25.0 * (length - 2.3) ** 2,
            forces=factor * np.array([[-force, 0, 0], [force, 0, 0]]),
        )
        frames.append(atoms)
    write(tmp_path / "mine.xyz", frames, format="extxyz")
    source = {"paths": [str(tmp_path / "mine.xyz")]}
    with pytest.raises(PeslossError, match="check_units: report") as caught:
        made(spec_of(source), tmp_path)
    assert "\n" not in str(caught.value)
    found = made(spec_of(source, check_units="report"), tmp_path)
    assert found.structures
    assert any(line.startswith("units: ") for line in found.notes)


def test_rare_species_leave_with_their_structures(tiny: Tiny, tmp_path: Path) -> None:
    structures = plain(tiny.structures)
    odd = structures[7]
    odd.symbols[0] = "Pt"
    write(tmp_path / "mine.xyz", structures, format="extxyz")
    found = made(spec_of({"paths": [str(tmp_path / "mine.xyz")]}, rarest=2), tmp_path)
    assert found.left_out.reason.tolist() == ["species Pt in 1 groups, fewer than 2"]
    assert all("Pt" not in a.symbols for a in found.structures)


def test_phases_are_kept_by_name(tiny: Tiny, tmp_path: Path) -> None:
    structures = plain(tiny.structures)
    for k, atoms in enumerate(structures):
        atoms.info["kind"] = "bulk" if k % 4 else "slab"
    write(tmp_path / "mine.xyz", structures, format="extxyz")
    phase = {"by": "info:kind", "labels": {"^b": "crystal", "slab": "surface"}}
    source = {"paths": [str(tmp_path / "mine.xyz")], "phase": phase}
    found = made(spec_of(source, phases=["surface"]), tmp_path)
    assert {a.info["phase"] for a in found.structures} == {"surface"}
    assert found.left_out.reason.unique().tolist() == ["phase crystal"]
    with pytest.raises(PeslossError, match="phases is 'liquid'; allowed: crystal, surface"):
        made(spec_of(source, phases=["liquid"]), tmp_path)


def chains(*sizes: int) -> list[Atoms]:
    return [Atoms(f"Cu{n}") for n in sizes]


def test_structures_are_chosen_evenly_over_the_doublings_of_the_size() -> None:
    structures = chains(*[2] * 100, *[8] * 30, *[64] * 4)
    chosen, others = choose(structures, 34, np.random.default_rng(0))
    assert Counter(len(a) for a in chosen) == {2: 15, 8: 15, 64: 4}
    assert len(others) == 100
    for n in (1, 2, 3, 60, 133, 134, None):
        chosen, others = choose(structures, n, np.random.default_rng(1))
        assert len(chosen) == (134 if n is None else n)
        assert len(chosen) + len(others) == 134


def test_supercells_repeat_labels(tiny: Tiny) -> None:
    atoms = bulk("Cu", "fcc", a=3.8, cubic=True)
    forces = np.random.default_rng(0).normal(size=(4, 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=forces)
    atoms.info = {"structure": "s", "group": "g", "phase": "p"}
    one, four = supercells(atoms, (1, 4))
    assert (len(one), len(four)) == (4, 16)
    assert four.get_potential_energy() == 4 * one.get_potential_energy()
    assert np.array_equal(four.get_forces(), np.tile(forces, (4, 1)))
    assert [a.info["structure"] for a in (one, four)] == ["sx1", "sx4"]
    assert {a.info["group"] for a in (one, four)} == {"g"}
    atoms.pbc = False
    assert len(list(supercells(atoms, (1, 4)))) == 1


def test_what_cannot_be_had_is_said(tiny: Tiny, tmp_path: Path) -> None:
    file = mirrored(tiny.structures, tmp_path)
    recipe = Recipe.model_validate(spec_of({"files": [file]}).recipe)
    mirror, cache = str(tmp_path / "mirror"), tmp_path / "cache"
    assert unavailable({"a": recipe}, Sources(cache=cache, mirror=mirror)) == {}
    why = unavailable({"a": recipe}, Sources(cache=cache, mirror=str(tmp_path)))
    assert list(why) == ["a"]
    assert "owner/data.xyz" in why["a"]
    own = Recipe.model_validate(spec_of({"paths": ["nowhere.xyz"]}).recipe)
    assert unavailable({"b": own}, Sources(cache=cache)) == {"b": "nowhere.xyz: no such file"}


def test_settings_come_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PESLOSS_MIRROR", "/environment")
    monkeypatch.setenv("PESLOSS_CACHE", "/kept")
    assert sources_of({}).mirror == "/environment"
    found = sources_of({"mirror": "/mine", "cache": str(tmp_path)})
    assert (found.mirror, found.cache) == ("/mine", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": ["a.xyz"], "load_atoms": "QM7"}, "origin is paths, load_atoms; allowed: one of"),
        ({}, "origin is none; allowed: one of files, paths and load_atoms"),
        ({"paths": ["a.xyz"], "groups": "molecule"}, "'molecule' is no rule; allowed: info:KEY"),
        ({"paths": ["a.xyz"], "labels": {"energy": "e"}}, "energy_unit' is missing"),
        ({"files": [{"path": "../x"}]}, "files.0"),
    ],
)
def test_a_wrong_card_is_refused_in_one_line(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = {"labels": LABELS, "groups": "none", **change}
    card = {"description": "", "kind": "files", "recipe": {"sources": [source]}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(PeslossError, match=message) as caught:
        load_dataset_spec(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_card_may_be_like_another(tmp_path: Path) -> None:
    source = {"labels": LABELS, "groups": "none", "paths": ["a.xyz"]}
    card = {"description": "", "kind": "files", "recipe": {"sources": [source], "rarest": 3}}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(card))
    like = {"description": "", "kind": "files", "recipe": {"like": "one", "copies": [1, 2]}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(like))
    recipe = load_dataset_spec(tmp_path / "other.yaml").parsed_recipe()
    assert isinstance(recipe, Recipe)
    assert (recipe.copies, recipe.rarest, recipe.sources[0].paths) == ((1, 2), 3, ("a.xyz",))
    like["recipe"] = {"like": "two"}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(like))
    with pytest.raises(PeslossError, match=r"recipe\.like is 'two'; allowed: one"):
        load_dataset_spec(tmp_path / "other.yaml")


def test_load_atoms_is_read_once_and_kept(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    package = ModuleType("load_atoms")

    def load_dataset(name: str, root: Path) -> list[Atoms]:
        asked.append(name)
        if name != "QM7":
            raise ValueError("no such\ndataset")
        return plain(tiny.structures)

    package.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "load_atoms", package)
    found = made(spec_of({"load_atoms": "QM7"}), tmp_path)
    assert len(found.structures) == 40
    assert loaded_atoms("QM7", tmp_path / "cache").is_file()
    made(spec_of({"load_atoms": "QM7"}), tmp_path)
    assert asked == ["QM7"]
    with pytest.raises(PeslossError, match="load_atoms 'QM9': no such dataset"):
        loaded_atoms("QM9", tmp_path)
    monkeypatch.setitem(sys.modules, "load_atoms", None)
    with pytest.raises(PeslossError, match="load-atoms is not installed"):
        loaded_atoms("C-GAP-17", tmp_path)


@pytest.mark.parametrize("name", CARDS)
def test_shipped_cards_give_datasets(name: str, tmp_path: Path) -> None:
    if not ORIGINALS.is_dir():
        pytest.skip(f"{ORIGINALS} is not there: the files of the cards cannot be read")
    spec = load_dataset_spec(CONFIG / f"{name}.yaml")
    recipe = spec.parsed_recipe()
    assert isinstance(recipe, Recipe)
    for text in (recipe.method, recipe.licence, recipe.citation, recipe.spread):
        assert text
    sources = Sources(cache=tmp_path, mirror=str(ORIGINALS))
    assert unavailable({name: recipe}, sources) == {}
    found = read_dataset(spec, "smoke", sources)
    names = [str(a.info["structure"]) for a in found.structures]
    assert len(set(names)) == len(names)
    assert set(pd.unique(found.left_out.structure)).isdisjoint(names)
    wanted = spec.size("smoke")
    assert wanted is not None
    assert len(names) <= wanted * len(recipe.copies)
    assert len(names) >= 0.9 * min(wanted, 500)
