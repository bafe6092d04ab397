"""What belongs together is one group, under every rule a card can name."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from originals import needs_originals, original

from pesloss.data.grouping import GroupRule, PhaseRule, groups, phases
from pesloss.job.errors import PeslossError
from pesloss.spec.yaml_models import parse


def by(rule: str) -> GroupRule:
    return GroupRule(by=(rule,))


def trajectory(file: str, n_frames: int, seed: int, **info: Any) -> list[Atoms]:
    """Steps of 0.1 Å away from a rattled crystal."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(1.0, rng=rng)
    frames = []
    for step in range(n_frames):
        atoms.rattle(0.06, rng=rng)
        copy = atoms.copy()
        copy.info.update(file=file, source=f"{file}@{seed}.{step}", **info)
        frames.append(copy)
    return frames


def test_each_rule_groups() -> None:
    frames = [*trajectory("a", 2, 0, run="x"), *trajectory("b", 1, 1, run="x")]
    frames[2].symbols[0] = "Au"
    for rule, expected in {
        "none": ["a@0.0", "a@0.1", "b@1.0"],
        "source": ["a", "a", "b"],
        "formula": ["Cu4", "Cu4", "AuCu3"],
        "info:run": ["x", "x", "x"],
        "similar": ["a@0.0", "a@0.0", "b@1.0"],
    }.items():
        assert groups(frames, by(rule)) == expected
        assert groups(frames, parse(GroupRule, {"by": rule}, "card")) == expected
    both = parse(GroupRule, {"by": ["info:run", "formula"]}, "card")
    assert groups(frames, both) == ["x|Cu4", "x|Cu4", "x|AuCu3"]
    assert groups([], by("similar")) == []


def test_a_pattern_takes_the_number_of_the_snapshot_away() -> None:
    described = ["Snapshot 1 of 20 at 300 K", "Snapshot 2 of 20 at 300 K", "a slab"]
    frames = [Atoms("H", info={"description": text}) for text in described]
    rule = GroupRule(by=("info:description",), pattern=r"at (\d+ K)")
    assert groups(frames, rule) == ["300 K", "300 K", "a slab"]
    rule = GroupRule(by=("info:description",), pattern=r"of.*")
    assert groups(frames, rule) == ["of 20 at 300 K", "of 20 at 300 K", "a slab"]


def test_similar_frames_are_connected_through_others() -> None:
    first, second = trajectory("a", 20, 0), trajectory("a", 20, 1)
    mixed = [frame for both in zip(first, second, strict=True) for frame in both]
    ends = GroupRule(by=("similar",), tolerance=0.2)
    assert len(set(groups([first[0], first[-1]], ends))) == 2
    assert groups(mixed, ends) == ["a@0.0", "a@1.0"] * 20


def test_similar_frames_may_relax_their_cell_and_cross_it() -> None:
    frames = trajectory("a", 4, 0)
    for step, atoms in enumerate(frames):
        atoms.set_cell(atoms.cell * (1 + 0.02 * step), scale_atoms=True)
        atoms.positions += step * atoms.cell.array[1] + 0.7 * step
        atoms.wrap()
    assert len(set(groups(frames, by("similar")))) == 1
    assert len(set(groups(frames, GroupRule(by=("similar",), max_strain=0.01)))) == 4


def test_what_is_not_similar_stays_apart() -> None:
    first = trajectory("a", 1, 0)[0]
    others = [first.copy() for _ in range(4)]
    others[0].info["file"] = "b"
    others[1].symbols[0] = "Au"
    others[2].pbc = False
    others[3].positions[0] += 2.0
    for index, other in enumerate(others):
        other.info["source"] = f"{index}"
        assert groups([first, other], by("similar")) == ["a@0.0", f"{index}"]


def test_each_rule_gives_phases() -> None:
    frames = [*trajectory("melt/a", 1, 0, kind="AIMD"), *trajectory("b", 1, 1, kind="Elastic")]
    assert phases(frames, PhaseRule(by="constant", constant="bulk")) == ["bulk", "bulk"]
    assert phases(frames, PhaseRule(by="info:kind")) == ["AIMD", "Elastic"]
    assert phases(frames, PhaseRule(by="source")) == ["melt/a", "b"]
    labels = {"^A": "liquid", "": "crystal"}
    assert phases(frames, PhaseRule(by="info:kind", labels=labels)) == ["liquid", "crystal"]
    labels = {"^melt/": "liquid", "b": "crystal"}
    assert phases(frames, PhaseRule(by="source", labels=labels)) == ["liquid", "crystal"]
    assert phases(frames, PhaseRule(by="constant", constant="gas")) == ["gas", "gas"]


def test_missing_keys_and_unmatched_values_are_named() -> None:
    frames = trajectory("a", 1, 0, kind="AIMD")
    message = r"^a@0\.0: info 'tag' is missing; there are: file, kind, source$"
    with pytest.raises(PeslossError, match=message):
        groups(frames, by("info:tag"))
    with pytest.raises(PeslossError, match=message):
        phases(frames, PhaseRule(by="info:tag"))
    rule = PhaseRule(by="info:kind", labels={"slab": "surface"})
    with pytest.raises(PeslossError, match="info:kind is 'AIMD'; allowed: what matches slab"):
        phases(frames, rule)


@pytest.mark.parametrize(
    ("spec", "content", "message"),
    [
        (GroupRule, {"by": "tag"}, "'tag' is no rule; allowed: info:KEY, source, formula"),
        (GroupRule, {"by": []}, "by is"),
        (GroupRule, {"by": "info:"}, "'info:' is no rule"),
        (GroupRule, {"by": "none", "pattern": "("}, "is no regular expression"),
        (PhaseRule, {"by": "formula"}, "'formula' is no rule; allowed: info:KEY, source, constant"),
        (PhaseRule, {"by": "source", "labels": {"(": "a"}}, "is no regular expression"),
    ],
)
def test_wrong_rules_are_named(
    spec: type[GroupRule] | type[PhaseRule], content: dict[str, Any], message: str
) -> None:
    with pytest.raises(PeslossError, match=r"^card: ") as caught:
        parse(spec, content, "card")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_originals
def test_trajectories_of_public_sets_are_found() -> None:
    frames, _ = original("mlearn6")
    rule = GroupRule(by=("info:description", "formula"), pattern=r"^Snapshot \d+ of (.*)")
    found = Counter(groups(frames, rule))
    assert found["40 of Vacancy AIMD NVT simulation at 300 K|Ge63"] == 40
    silicon = [frame for frame in frames if frame.info["file"].startswith("Si")]
    assert Counter(groups(silicon, by("similar"))).most_common(1)[0][1] > 20
    molecules, _ = original("s66x8_comp6")
    assert set(Counter(groups(molecules, by("info:group"))).values()) == {8}
