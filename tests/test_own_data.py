"""Cards of own data, as people write them: what comes out, or the one line that says why not."""

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ase.io
import numpy as np
import pandas as pd
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from conftest import failure

from pesloss.data.blocks import correlation_time
from pesloss.data.external import External, read_dataset, unavailable, unavailable_here
from pesloss.data.fetch import Sources
from pesloss.data.grouping import GroupRule
from pesloss.data.kinds.files import Recipe
from pesloss.data.own_files import all_matched, matched
from pesloss.data.spec import DatasetSpec, load_dataset_spec
from pesloss.data.splits import split
from pesloss.data.stated_units import units_conflict
from pesloss.data.store import read_structures, structure_table, write_structures
from pesloss.job.script import job
from pesloss.plan.suite import Suite
from pesloss.report.notes import notes_table
from pesloss.spec.yaml_models import parse, read_yaml
from pesloss.statistics.fit import compared_with_references, fit_statistics

CONFIG = Path(__file__).parents[1] / "config"
FRACTIONS = {"train": 0.6, "validation": 0.15, "test": 0.25}
LABELS = {"energy": "energy", "forces": "forces", "energy_unit": "eV", "length_unit": "Angstrom"}
SPRING = 4.0  # eV/Å²


def drawn(phi: float, n: int, size: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Draw ``size`` series AR(1) of ``n`` steps and unit variance: ρ(t) = φ^t."""
    series = np.random.default_rng(seed).normal(size=(n, size))
    for step in range(1, n):
        series[step] = phi * series[step - 1] + np.sqrt(1 - phi**2) * series[step]
    return series


def trajectory(n: int, seed: int = 0, phi: float = 0.8, symbols: str = "SiC") -> list[Atoms]:
    """An MD of one cell: atoms on springs, the forces the slopes of the energies."""
    crystal = bulk(symbols, "diamond" if symbols == "Si" else "zincblende", a=4.36, cubic=True)
    moves = 0.05 * drawn(phi, n, 3 * len(crystal), seed).reshape(n, -1, 3)
    frames = []
    for move in moves:
        atoms = crystal.copy()
        atoms.positions += move
        stretch = move - move.mean(axis=0)  # without the drift: forces add up to zero
        energy = -5.0 * len(atoms) + 0.5 * SPRING * (stretch**2).sum()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=-SPRING * stretch)
        frames.append(atoms)
    return frames


ENERGY = trajectory(1)[0].get_potential_energy()


def text_of(frames: list[Atoms]) -> str:
    text = io.StringIO()
    ase.io.write(text, frames, format="extxyz")
    return text.getvalue()


def spec_of(
    folder: Path, n: int | None = None, source: dict[str, Any] | None = None, **recipe: Any
) -> DatasetSpec:
    paths = [str(folder / "mine.xyz")]
    given = {"paths": paths, "labels": LABELS, "groups": "similar", **(source or {})}
    full = {"sources": [given], **recipe}
    return DatasetSpec(description="", kind="files", n_structures=n, recipe=full)


def made(spec: DatasetSpec) -> External:
    return read_dataset(spec, "default", Sources())


def groups_of(found: External) -> list[str]:
    """Groups in the order of the file."""
    place = {str(a.info["structure"]): str(a.info["group"]) for a in found.structures}
    return [place[name] for name in sorted(place, key=lambda name: int(name.rsplit("@")[-1]))]


# trajectories


@pytest.mark.parametrize(("phi", "time"), [(0.0, 1.0), (0.5, 3.0), (0.8, 9.0), (0.95, 39.0)])
def test_the_autocorrelation_time_is_that_of_the_process(phi: float, time: float) -> None:
    """Of AR(1) it is (1 + φ)/(1 − φ)."""
    found = [correlation_time(series) for series in drawn(phi, 20_000, 5, seed=1).T]
    assert np.mean(np.array(found, dtype=float)) == pytest.approx(time, rel=0.08)


@pytest.mark.parametrize(
    "series",
    [[], [1.0], np.zeros(500), np.full(500, -1e5), [*np.arange(400.0), np.nan],
     drawn(0.95, 400, 1, seed=0)[:, 0], np.linspace(0, 1, 500)],
)  # fmt: skip
def test_where_a_series_does_not_tell_its_time_there_is_none(series: Any) -> None:
    assert correlation_time(series) is None


def test_the_usual_card_makes_blocks_of_one_trajectory(tmp_path: Path) -> None:
    """As the README's: `groups: similar` alone would leave one group, and nothing of it."""
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(120)))
    found = made(spec_of(tmp_path))
    groups = groups_of(found)
    assert len(groups) == 120
    assert len(set(groups)) == 6
    # every block is one stretch of time, and blocks are equally long
    assert [groups.index(g) for g in sorted(set(groups))] == [0, 20, 40, 60, 80, 100]
    assert groups == sorted(groups)
    note = next(line for line in found.notes if line.startswith("groups: 1 trajectory cut into"))
    assert "6 blocks of 20 frames" in note
    assert "`groups: similar` makes one group" in note
    assert "`rarest: 6`" in note
    assert any("5 borders" in line and "`gap`" in line for line in found.notes)
    splits = split(structure_table(found.structures), FRACTIONS, np.random.default_rng(0))
    block = dict(zip(splits.structure, [a.info["group"] for a in found.structures], strict=True))
    assert splits.groupby(splits.structure.map(block)).split.nunique().tolist() == [1] * 6
    assert set(splits.split) == set(FRACTIONS)


def test_blocks_hold_ten_autocorrelation_times_where_the_energy_tells_them(tmp_path: Path) -> None:
    frames = trajectory(3000, phi=0.8)
    (tmp_path / "mine.xyz").write_text(text_of(frames))
    found = made(spec_of(tmp_path))
    # the energy is a sum of squares: ρ = φ², so the time is (1 + φ²)/(1 − φ²) = 4.6 frames
    time = correlation_time([a.get_potential_energy() for a in frames])
    assert time == pytest.approx((1 + 0.64) / (1 - 0.64), rel=0.25)
    assert time is not None
    sizes = pd.Series(groups_of(found)).value_counts()
    assert len(sizes) == int(3000 / (10 * time))
    assert sizes.max() - sizes.min() <= 1
    assert any(f"autocorrelation time of {time:.1f} frames" in line for line in found.notes)


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_a_gap_is_counted_and_named(tmp_path: Path, gap: int) -> None:
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(80)))
    found = made(spec_of(tmp_path, source={"groups": {"by": "blocks", "n_blocks": 8, "gap": gap}}))
    assert len(found.structures) == 80 - 7 * gap
    lost = sorted(int(name.rsplit("@")[-1]) for name in found.left_out.structure)
    assert lost == [10 * block + k for block in range(1, 8) for k in range(gap)]
    assert set(found.left_out.reason) == (
        {f"in the gap between two blocks of a trajectory (gap: {gap})"} if gap else set()
    )
    assert len({a.info["group"] for a in found.structures}) == 8
    assert any(f"{7 * gap} frames left out in gaps of {gap}" in n for n in found.notes) == bool(gap)
    assert any("too alike" in n or "are alike" in n for n in found.notes) != bool(gap)


def test_a_gap_as_long_as_a_block_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(40)))
    spec = spec_of(tmp_path, source={"groups": {"by": "blocks", "n_blocks": 8, "gap": 9}})
    assert "a gap of 9 frames leaves nothing of a block of 5 frames" in failure(lambda: made(spec))


def test_trajectories_that_are_enough_stay_whole(tmp_path: Path) -> None:
    frames = [a for seed in range(6) for a in trajectory(5, seed, phi=0.9)]
    for k, atoms in enumerate(frames):  # six crystals that differ by far
        atoms.set_cell(atoms.cell * (1 + 0.1 * (k // 5)), scale_atoms=True)
    (tmp_path / "mine.xyz").write_text(text_of(frames))
    found = made(spec_of(tmp_path, check_units="report"))
    path = tmp_path / "mine.xyz"
    assert groups_of(found) == [f"{path}@{5 * (k // 5)}" for k in range(30)]
    assert not any("blocks" in line for line in found.notes)


def test_each_of_two_trajectories_gives_its_share_of_blocks(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(text_of(trajectory(30, 0)))
    (tmp_path / "b.xyz").write_text(text_of(trajectory(60, 1)))
    found = made(spec_of(tmp_path, source={"paths": [str(tmp_path / "*.xyz")]}))
    sizes = pd.Series([str(a.info["group"]) for a in found.structures]).value_counts()
    by_file = sizes.groupby(lambda group: group.rsplit("/")[-1][0])
    assert by_file.count().to_dict() == {"a": 2, "b": 4}
    assert by_file.max().to_dict() == {"a": 15, "b": 15}


def test_only_trajectories_of_species_in_too_few_groups_are_cut(tmp_path: Path) -> None:
    """Six unlike crystals of silicon and one trajectory of carbide: carbon is in one group."""
    silicon = trajectory(6, 3, symbols="Si")
    for k, atoms in enumerate(silicon):
        atoms.set_cell(atoms.cell * (1 + 0.1 * k), scale_atoms=True)
    (tmp_path / "mine.xyz").write_text(text_of(silicon + trajectory(24)))
    found = made(spec_of(tmp_path, check_units="report"))
    assert len(found.structures) == 30
    sizes = pd.Series(groups_of(found)).value_counts()
    assert sorted(sizes) == [1] * 6 + [4] * 6
    assert found.left_out.empty


def test_blocks_are_of_what_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(200)))
    found = made(spec_of(tmp_path, n=24))
    sizes = pd.Series(groups_of(found)).value_counts()
    assert sorted(sizes) == [4] * 6
    assert groups_of(found) == sorted(groups_of(found))


@pytest.mark.parametrize(("rarest", "n_groups"), [(1, 3), (2, 3), (10, 10)])
def test_blocks_are_as_many_as_splits_and_rarest_need(
    tmp_path: Path, rarest: int, n_groups: int
) -> None:
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(45)))
    found = made(spec_of(tmp_path, rarest=rarest))
    assert len(set(groups_of(found))) == n_groups


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"by": "similar", "n_blocks": 3}, "n_blocks is given; only by 'blocks'"),
        ({"by": "formula", "gap": 3}, "gap is given; only by 'blocks' or 'similar'"),
        ({"by": "blocks", "gap": -1}, "gap is -1"),
        ({"by": "blocks", "n_blocks": 0}, "n_blocks is 0"),
        ({"by": "block"}, "'block' is no rule; allowed: "),
    ],
)
def test_wrong_rules_of_blocks_are_named(rule: dict[str, Any], message: str) -> None:
    assert message in failure(lambda: parse(GroupRule, rule, "card"))


# nothing left, or little


@pytest.mark.parametrize("rule", ["source", "formula"])
def test_a_rule_that_leaves_nothing_is_named_with_what_to_change(tmp_path: Path, rule: str) -> None:
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(40)))
    message = failure(lambda: made(spec_of(tmp_path, source={"groups": rule})))
    assert "no structure is left of 40: 40: species C in 1 groups, fewer than 6" in message
    assert "`rarest`" in message
    assert "`groups`: `blocks` cuts trajectories" in message


def test_all_reasons_are_counted_in_the_error(tmp_path: Path) -> None:
    frames = trajectory(20)
    for atoms in frames[:12]:
        atoms.calc = SinglePointCalculator(
            atoms, energy=np.nan, forces=atoms.calc.results["forces"]
        )
    for atoms in frames[12:15]:
        forces = np.zeros((8, 3))
        forces[0, 0] = 5.0
        atoms.calc = SinglePointCalculator(atoms, energy=-40.0, forces=forces)
    text = text_of(frames).replace("nan", "NaN")
    (tmp_path / "mine.xyz").write_text(text)
    message = failure(lambda: made(spec_of(tmp_path, source={"groups": "source"})))
    assert "no structure is left of 20: 12: the energy is nan; 5: species C in 1" in message
    assert re.search(r"; 3: the forces add up to 5\.0000 eV/Å", message)
    for key in ("`labels`", "`limits`", "`max_net_force` of `limits`", "`rarest`"):
        assert key in message


def test_little_that_is_left_is_said(tmp_path: Path) -> None:
    frames = trajectory(30)
    for atoms in frames[:20]:
        atoms.calc = SinglePointCalculator(atoms, energy=np.nan, forces=np.zeros((8, 3)))
    (tmp_path / "mine.xyz").write_text(text_of(frames))
    found = made(spec_of(tmp_path))
    assert len(found.structures) == 10
    assert (
        "only 10 of 30 structures are left: 20: the energy is nan (to change: `labels` or "
        "`limits`)" in found.notes
    )
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(30)))
    found = made(spec_of(tmp_path, n=8))  # asked for
    assert not any("structures are left:" in line for line in found.notes)


def test_too_few_groups_for_splits_are_said_and_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(20)))
    found = made(spec_of(tmp_path, source={"groups": "source"}, rarest=1))
    note = "20 structures are in 1 groups by `groups: source`; splits need 3 or more: "
    assert any(line.startswith(note) and "blocks" in line for line in found.notes)
    table = structure_table(found.structures)
    message = failure(lambda: split(table, FRACTIONS, np.random.default_rng(0), "mine"))
    assert message.startswith("mine: number of families is 1; allowed: 3 or more")
    assert "`groups: blocks`" in message


def test_a_group_that_is_off_is_among_the_notes(tmp_path: Path) -> None:
    frames = trajectory(60)
    for k, atoms in enumerate(frames):
        atoms.info["config_type"] = "slab" if 20 <= k < 35 else "bulk"
        shift = 2.4 * len(atoms) if 20 <= k < 35 else 0.0
        results = atoms.calc.results
        atoms.calc = SinglePointCalculator(
            atoms, energy=results["energy"] + shift, forces=results["forces"]
        )
    (tmp_path / "mine.xyz").write_text(text_of(frames))
    found = made(spec_of(tmp_path, check_units="report"))
    assert len(found.structures) == 60
    assert any("slab" in line and "2.4" in line for line in found.notes)


# isolated atoms


def test_isolated_atoms_are_reference_energies(tmp_path: Path) -> None:
    alone = []
    for symbol, energy in (("Si", -3.0), ("C", -4.0)):
        atoms = Atoms(symbol, info={"config_type": "IsolatedAtom"})
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
        alone.append(atoms)
    frames = trajectory(30) + trajectory(30, 1, symbols="Si")
    (tmp_path / "mine.xyz").write_text(text_of(alone + frames))
    spec = spec_of(tmp_path, check_units="report")
    found = made(spec)
    assert len(found.structures) == 60
    assert found.reference_energies == {"Si": -3.0, "C": -4.0}
    assert found.left_out.reason.tolist() == [
        "isolated atom of Si, kept as reference energy -3.000000 eV",
        "isolated atom of C, kept as reference energy -4.000000 eV",
    ]
    assert any("2 isolated atoms" in line for line in found.notes)
    write_structures(tmp_path / "s.extxyz", found.structures, found.described(spec))
    structures = read_structures(tmp_path / "s.extxyz")
    table = structure_table(structures)
    splits = pd.DataFrame({"structure": table.structure, "split": "train"})
    fitted = fit_statistics("mine", table, splits, structures)
    lines = compared_with_references(fitted, structures)
    # all atoms are at -5 eV but for their springs: bound by 2 eV in silicon, 1 eV in carbon
    (silicon,) = (line for line in lines if line.startswith("Si: E0 -3.0000 eV"))
    difference = re.search(r"μ − E0 (\S+) eV", silicon)
    assert difference is not None
    assert float(difference[1]) == pytest.approx(-2.0, abs=0.1)
    write_structures(tmp_path / "s.extxyz", found.structures, spec.described())
    assert compared_with_references(fitted, read_structures(tmp_path / "s.extxyz")) == []


def test_an_isolated_atom_needs_no_forces(tmp_path: Path) -> None:
    lines = '1\nProperties=species:S:1:pos:R:3 energy=-4 config_type=isolated_atom pbc="F F F"\n'
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(30)) + lines + "C 0 0 0\n")
    found = made(spec_of(tmp_path))
    assert len(found.structures) == 30
    assert found.reference_energies == {"C": -4.0}
    crystal = 'Lattice="2 0 0 0 2 0 0 0 2" Properties=species:S:1:pos:R:3 energy=-4'
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(30)) + f"1\n{crystal}\nC 0 0 0\n")
    found = made(spec_of(tmp_path))
    assert found.left_out.reason.tolist() == ["the forces are missing"]


# what is in files


def changed(old: str, new: str, count: int = 1) -> Callable[[str], str]:
    """Return a change of the text of a file that has to change it."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, count)

    return change


CASES: dict[str, tuple[Callable[[str], str | bytes], int, str]] = {
    # what is done to a file of 30 frames, how many are left, and the first reason
    "as it is": (str, 30, ""),
    "carriage returns": (lambda t: t.replace("\n", "\r\n"), 30, ""),
    "old carriage returns": (lambda t: t.replace("\n", "\r").encode(), 30, ""),
    "byte order mark": (lambda t: b"\xef\xbb\xbf" + t.encode(), 30, ""),
    "UTF-16": (lambda t: t.encode("utf-16"), 30, ""),
    "gzip": (lambda t: gzip.compress(t.encode()), 30, ""),
    "xz": (lambda t: lzma.compress(t.encode()), 30, ""),
    "bzip2": (lambda t: bz2.compress(t.encode()), 30, ""),
    "blank lines at the end": (lambda t: t + "\n\n\n", 30, ""),
    "ghost atom": (changed("\nSi ", "\nX  "), 29, "atom 0 is X, a ghost atom"),
    "unknown element": (changed("\nSi ", "\nQq "), 29, "unknown element or property 'Qq'"),
    "NaN energy": (
        lambda t: re.sub(r"energy=\S+", "energy=nan", t, count=1), 29, "the energy is nan"
    ),
    "Inf energy": (
        lambda t: re.sub(r"energy=\S+", "energy=inf", t, count=1), 29, "the energy is inf"
    ),
    "an energy that is yes or no": (
        lambda t: re.sub(r"energy=\S+", "energy=T", t, count=1), 29, "energy is no array of numbers"
    ),
    "an energy of words": (
        lambda t: re.sub(r"energy=\S+", "energy=unknown", t, count=1), 29, "energy is no array"
    ),
    "an energy that is there twice": (
        lambda t: re.sub(r"(energy=\S+)", r"\1 energy=5", t, count=1), 29, "'energy' is there 2 t"
    ),
    "no energy": (
        lambda t: re.sub(r"energy=\S+", "", t, count=1), 29,
        "key 'energy' is missing; there are: forces",
    ),
    "energy in other case": (
        lambda t: re.sub(r"energy=", "Energy=", t, count=1), 29, "did you mean 'Energy'?"
    ),
    "no lattice": (
        lambda t: re.sub(r'Lattice="[^"]*"', "", t, count=1), 29, "periodic, but with 0 cell"
    ),
    "energy in another unit by its own word": (
        lambda t: re.sub(r"energy=", "energy_unit=Hartree energy=", t, count=1), 29,
        "energy_unit is 'Hartree' in the file, energy_unit 'eV' in the card",
    ),
    "units of its own that agree": (
        lambda t: t.replace("energy=", "energy_unit=ev length_unit=Ang forces_unit=eV/A energy="),
        30, "",
    ),
    "a frame twice": (
        lambda t: t + "".join(t.splitlines(keepends=True)[:10]), 30, "the same structure as"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_a_file_gives_what_is_sound_in_it(case: str, tmp_path: Path) -> None:
    change, n_left, reason = CASES[case]
    content = change(text_of(trajectory(30)))
    data = content.encode() if isinstance(content, str) else content
    (tmp_path / "mine.xyz").write_bytes(data)
    found = made(spec_of(tmp_path))
    assert len(found.structures) == n_left
    assert len(found.left_out) == (1 if reason else 0)
    if reason:
        name, why = found.left_out.iloc[0]
        assert reason in why
        assert re.fullmatch(re.escape(f"{tmp_path}/mine.xyz@") + r"\d+", name)


REFUSED: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "empty": (lambda t: b"", "the file is empty"),
    "blank": (lambda t: "\n\n", "none of 0 frames can be read"),
    "cut off": (lambda t: t[: len(t) // 2].rsplit("\n", 2)[0], "truncated: line "),
    "cut off while packed": (lambda t: gzip.compress(t.encode())[:-40], "truncated or not gzip"),
    "cut off xz": (lambda t: lzma.compress(t.encode())[:-40], "truncated or not xz"),
    "a picture": (lambda t: b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "not a text file in UTF-8 (line 1"),
    "zeros": (lambda t: b"\x00" * 100, "allowed: a number of atoms"),
    "Latin-1": (
        lambda t: t.replace("energy=", "unit=\xc5 energy=", 2).encode("latin-1"),
        "not a text file in UTF-8 (line 2 has the byte 0xc5)",
    ),
    "a ZIP": (lambda t: b"PK\x03\x04" + t.encode(), "a ZIP; unpack it first"),
    "no key": (
        lambda t: t.replace("energy=", "REF_energy="),
        "none of 30 frames can be read; the first, {path}@0: key 'energy' is missing; there are: "
        "REF_energy, forces; did you mean 'REF_energy'?",
    ),
    "negative number of atoms": (lambda t: "-3" + t[1:], "line 1 is '-3'; allowed: a number of"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_file_of_which_nothing_is_sound_is_refused_by_name(case: str, tmp_path: Path) -> None:
    change, message = REFUSED[case]
    content = change(text_of(trajectory(30)))
    path = tmp_path / "mine.xyz"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = failure(lambda: made(spec_of(tmp_path)))
    assert str(path) in found
    assert message.format(path=path) in found


@pytest.mark.parametrize("number", [-1, 119, 10**6])
def test_atomic_numbers_that_no_element_has_are_named(number: int, tmp_path: Path) -> None:
    text = text_of(trajectory(30)).replace("species:S:1", "Z:I:1")
    text = re.sub(r"^Si ", "14 ", re.sub(r"^C ", "6 ", text, flags=re.M), flags=re.M)
    (tmp_path / "mine.xyz").write_text(re.sub(r"^6 ", f"{number} ", text, count=1, flags=re.M))
    found = made(spec_of(tmp_path))
    reason = f"atomic number of atom 1 is {number}; allowed: 1 to 118"
    assert found.left_out.reason.tolist() == [reason]


@pytest.mark.parametrize("key", ["energy", "free_energy", "REF_energy", "Energy", "dft energy"])
def test_any_key_works_under_its_own_name(key: str, tmp_path: Path) -> None:
    text = text_of(trajectory(30))
    named = f'"{key}"' if " " in key else key
    (tmp_path / "mine.xyz").write_text(text.replace(" energy=", f" {named}="))
    found = made(spec_of(tmp_path, source={"labels": {**LABELS, "energy": key}}))
    assert len(found.structures) == 30
    assert found.structures[0].get_potential_energy() == pytest.approx(ENERGY, rel=1e-9)


def test_of_two_keys_that_differ_in_case_it_is_said_which_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.xyz").write_text(
        text_of(trajectory(30)).replace(" energy=", " Energy=7 energy=")
    )
    found = made(spec_of(tmp_path))
    path = tmp_path / "mine.xyz"
    assert f"{path}: key 'energy' is read, not 'Energy', in 30 of 30 frames" in found.notes
    assert found.structures[0].get_potential_energy() < -30


def test_files_of_several_kinds_make_one_dataset(tmp_path: Path) -> None:
    (tmp_path / "mine.xyz").write_text(text_of(trajectory(20)))
    with connect(tmp_path / "more.db", type="db") as database:
        for atoms in trajectory(10, 1):
            database.write(atoms)
    sources = [
        {
            "paths": str(tmp_path / f"{name}"),
            "format": format,
            "labels": LABELS,
            "groups": "similar",
        }
        for name, format in (("mine.xyz", "extxyz"), ("more.db", "ase_db"))
    ]
    spec = DatasetSpec(description="", kind="files", recipe={"sources": sources})
    assert len(made(spec).structures) == 30


# databases


def written_db(path: Path, metadata: dict[str, Any], **data: Any) -> None:
    with connect(path, type="db") as database:
        for atoms in trajectory(12):
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            atoms.calc = None
            values = {"energy": np.array([energy]), "forces": forces, "dft": {"E": energy}}
            database.write(atoms, data={**values, **data})
        database.metadata = metadata


SCHNETPACK = {"_distance_unit": "Ang", "_property_unit_dict": {"energy": "eV", "forces": "eV/Ang"}}


@pytest.mark.parametrize("energy", ["energy", "dft.E"])
@pytest.mark.parametrize(
    "metadata",
    [{}, SCHNETPACK, {"units": {"energy": "eV", "length": "Angstrom"}}, {"other": ["Hartree", 1]},
     {"_property_unit_dict": {"energy": "eV", "dft.E": "eV", "homo": "Hartree"}}],
)  # fmt: skip
def test_values_of_a_database_are_read_from_its_data(
    tmp_path: Path, energy: str, metadata: dict[str, Any]
) -> None:
    written_db(tmp_path / "mine.db", metadata)
    labels = {**LABELS, "energy": energy}
    source = {"paths": [str(tmp_path / "mine.db")], "format": "ase_db", "labels": labels}
    found = made(spec_of(tmp_path, source=source))
    assert len(found.structures) == 12
    assert found.structures[0].get_potential_energy() == pytest.approx(ENERGY, rel=1e-9)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            {"_property_unit_dict": {"energy": "Hartree"}},
            "metadata: _property_unit_dict.energy is 'Hartree' in the file, energy_unit 'eV'",
        ),
        (
            {"_distance_unit": "Bohr"},
            "_distance_unit is 'Bohr' in the file, length_unit 'Angstrom'",
        ),
        (
            {"energy_unit": "kcal / mol"},
            "energy_unit is 'kcal / mol' in the file, energy_unit 'eV'",
        ),
        ({"units": {"Energy": "Ha"}}, "units.Energy is 'Ha' in the file, energy_unit 'eV'"),
        ({"unit": "Hartree"}, "unit is 'Hartree' in the file, energy_unit 'eV'"),
        ({"units": {"forces": "Hartree/Bohr"}}, "the unit of forces 'eV/Angstrom' in the card"),
        ({"units": {"energy": "eV/atom"}}, "'eV/atom' in the file, energy_per_atom is not true"),
    ],
)
def test_units_of_a_database_have_to_be_the_cards(
    tmp_path: Path, metadata: dict[str, Any], message: str
) -> None:
    written_db(tmp_path / "mine.db", metadata)
    source = {"paths": [str(tmp_path / "mine.db")], "format": "ase_db"}
    found = failure(lambda: made(spec_of(tmp_path, source=source)))
    assert found.startswith(str(tmp_path / "mine.db"))
    assert message in found


def test_units_in_free_text_are_pointed_at(tmp_path: Path) -> None:
    written_db(tmp_path / "mine.db", {"title": "DFT, energies in Hartree"})
    source = {"paths": [str(tmp_path / "mine.db")], "format": "ase_db"}
    found = made(spec_of(tmp_path, source=source))
    assert any("metadata: title mentions 'Hartree'" in line for line in found.notes)


def test_declared_units_are_no_conflict() -> None:
    card = Recipe.model_validate(
        spec_of(Path(), source={"labels": {**LABELS, "energy_unit": "Hartree",
                                           "length_unit": "Bohr"}}).recipe
    )  # fmt: skip
    labels = card.sources[0].labels
    stated = {"energy_unit": "Hartree", "unit": "a0", "forces_unit": "Hartree/Bohr"}
    assert units_conflict(stated, labels) is None
    assert units_conflict({"energy_unit": "none", "unit": "furlong", "n": 3}, labels) is None


# cards and paths


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "xyz"}, "'xyz' is no format; allowed: ase_db, comp6_h5, extxyz"),
        ({"format": "_content"}, "'_content' is no format"),
        ({"format": "../x"}, "'../x' is no format"),
        ({"format": 3}, "format is 3"),
        ({"format": None}, "format is None"),
        ({"format": ["extxyz"]}, "format is ['extxyz']"),
        ({"paths": [""]}, "paths.0 is ''"),
        ({"paths": ["a\0b"]}, "paths.0 is"),
        ({"paths": [3]}, "paths.0 is 3"),
        ({"paths": []}, "origin is none"),
    ],
)
def test_a_wrong_source_is_refused_with_the_card(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    source = {"paths": ["a.xyz"], "labels": LABELS, "groups": "similar", **change}
    card = {"description": "", "kind": "files", "recipe": {"sources": [source]}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(card))
    found = failure(lambda: load_dataset_spec(tmp_path / "mine.yaml"))
    assert found.startswith(str(tmp_path / "mine.yaml"))
    assert message in found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files a, b, c of two depths; the home folder and where one is."""
    for name in ("data/a.xyz", "data/b.xyz", "data/deep/c.xyz", "data/notes.txt", "data/.hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "data/[x].xyz").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["data/a.xyz"], ["data/a.xyz"]),
        (["data/[ab].xyz"], ["data/a.xyz", "data/b.xyz"]),
        (["data/?.xyz"], ["data/a.xyz", "data/b.xyz"]),
        (["data/[x].xyz"], ["data/[x].xyz"]),
        (["data/b.xyz", "data/a*"], ["data/b.xyz", "data/a.xyz"]),
        (["data/**/c.xyz"], ["data/deep/c.xyz"]),
        (["**/[abc].xyz"], ["data/a.xyz", "data/b.xyz", "data/deep/c.xyz"]),
        (["data"], ["data/[x].xyz", "data/a.xyz", "data/b.xyz", "data/notes.txt"]),
        (["data/"], ["data/[x].xyz", "data/a.xyz", "data/b.xyz", "data/notes.txt"]),
        (["data/.h*"], ["data/.hidden"]),
        (["~/data/a.xyz"], ["{home}/data/a.xyz"]),
        (["~/data/[ab].xyz"], ["{home}/data/a.xyz", "{home}/data/b.xyz"]),
    ],
)
def test_patterns_name_files(folder: Path, patterns: list[str], found: list[str]) -> None:
    expected = [name.format(home=folder) for name in found]
    assert all_matched(patterns) == expected
    card = spec_of(folder, source={"paths": patterns})
    recipe = card.parsed_recipe()
    assert isinstance(recipe, Recipe)
    assert recipe.own_files() == expected
    assert unavailable({"mine": recipe}, Sources()) == {}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("data/d.xyz", "data/d.xyz: no such file"),
        ("data/*.cif", "data/*.cif: no file matches"),
        ("nowhere/**", "nowhere/**: no file matches"),
        ("empty", "empty: no file in this folder"),
        ("gone.xyz", "gone.xyz: a link to a file that is not there"),
        ("gone*", "gone.xyz: a link to a file that is not there (paths: gone*)"),
        ("loop", "loop: a link to a file that is not there"),
        ("pipe", "pipe: neither a file nor a folder"),
    ],
)
def test_a_path_that_names_nothing_is_named(folder: Path, pattern: str, message: str) -> None:
    (folder / "empty").mkdir()
    (folder / "gone.xyz").symlink_to("data/gone.xyz")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    assert failure(lambda: matched(pattern)) == message
    recipe = Recipe.model_validate(spec_of(folder, source={"paths": [pattern]}).recipe)
    assert unavailable({"mine": recipe}, Sources()) == {"mine": message}


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["data/a.xyz", "data/a.xyz"], "data/a.xyz: is there twice"),
        (["data/a.xyz", "./data/a.xyz"], "./data/a.xyz: is the same file as data/a.xyz"),
        (["data/*.xyz", "data/b.xyz"], "data/b.xyz: is there twice"),
        (["data/a.xyz", "soft.xyz"], "soft.xyz: is the same file as data/a.xyz"),
        (["data/a.xyz", "hard.xyz"], "hard.xyz: is the same file as data/a.xyz"),
        (["data/a.xyz", "linked/a.xyz"], "linked/a.xyz: is the same file as data/a.xyz"),
    ],
)
def test_a_file_counts_once(folder: Path, patterns: list[str], message: str) -> None:
    (folder / "soft.xyz").symlink_to("data/a.xyz")
    os.link(folder / "data/a.xyz", folder / "hard.xyz")
    (folder / "linked").symlink_to("data")
    assert message in failure(lambda: all_matched(patterns))
    groups = ("similar", "formula")  # two sources alike would be refused before any file is sought
    sources = [
        {"paths": [p], "labels": LABELS, "groups": by}
        for p, by in zip(patterns, groups, strict=True)
    ]
    recipe = Recipe.model_validate({"sources": sources})
    found = failure(lambda: unavailable({"mine": recipe}, Sources()))
    assert found == f"dataset mine: paths: {message}; allowed: each file once"


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    assert failure(lambda: made(spec)) == f"{tmp_path / 'mine.xyz'}: no such file"
    (tmp_path / "mine.xyz").mkdir()
    assert "no file in this folder" in failure(lambda: made(spec))


def test_what_matches_is_what_the_plan_watches(folder: Path) -> None:
    shutil.copytree(CONFIG, folder / "config")
    source = {"paths": ["data/[ab].xyz", "data/deep"], "labels": LABELS, "groups": "similar"}
    card = {"description": "Mine.", "kind": "files", "recipe": {"sources": [source]}}
    (folder / "config/datasets/mine.yaml").write_text(yaml.safe_dump(card))
    config = read_yaml(CONFIG / "config.yaml") | {"datasets": ["mine"]}
    suite = Suite.read(config, Path("config"), unavailable_here)
    assert suite.own_files("mine") == ["data/a.xyz", "data/b.xyz", "data/deep/c.xyz"]
    (folder / "data/deep/d.xyz").write_text("d")
    assert suite.own_files("mine")[-1] == "data/deep/d.xyz"
    (folder / "data/deep/d.xyz").unlink()
    (folder / "data/deep/c.xyz").unlink()
    message = failure(lambda: Suite.read(config, Path("config"), unavailable_here))
    assert message == "config/datasets/mine.yaml: data/deep: no file in this folder"


# notes


def test_notes_of_a_job_are_shown_logged_and_collected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for dataset, notes in (("mine", ["few are left", "others are off"]), ("other", [])):
        log = tmp_path / "logs" / "read_dataset" / f"{dataset}.log"
        given = SimpleNamespace(log=[str(log)], rule="read_dataset", wildcards=Wildcards(dataset))
        with job(given) as running:
            running.say("an ordinary line")
            for line in notes:
                running.note(line)
        assert log.read_text().splitlines()[1:] == [f"note: {line}" for line in notes]
    assert capsys.readouterr().err.splitlines() == [
        "read_dataset mine: note: few are left",
        "read_dataset mine: note: others are off",
    ]
    table = notes_table(tmp_path / "logs")
    assert table.to_dict("list") == {
        "rule": ["read_dataset"] * 2,
        "of": ["mine"] * 2,
        "note": ["few are left", "others are off"],
    }
    assert notes_table(tmp_path / "nothing").empty


class Wildcards(dict[str, str]):
    """As Snakemake's: a mapping that iterates over its values."""

    def __init__(self, dataset: str) -> None:
        super().__init__(dataset=dataset)

    def __iter__(self) -> Any:
        return iter(self.values())
