"""The table of presets says what the code computes."""

from pathlib import Path

import pytest
from batches import sample

from pesloss.job.errors import PeslossError
from pesloss.losses.base import PowerLoss
from pesloss.losses.presets import preset, presets, table

ROOT = Path(__file__).parents[1]
NAMED_IN_THE_ISSUE = {
    "schnetpack", "mace_weighted", "mace_huber", "mace_universal", "nequip", "graph_pes", "deepmd",
    "deepmd_intensive", "metatrain", "chgnet", "matgl", "sevennet", "orb", "fairchem", "gap",
    "torchani", "aimnet2",
}  # fmt: skip


def test_the_codes_of_the_field_are_there() -> None:
    assert set(presets()) >= NAMED_IN_THE_ISSUE


def test_the_page_of_presets_is_generated() -> None:
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    assert table() in page


@pytest.mark.parametrize("name", presets())
def test_the_exponent_shown_is_that_of_the_energy_term(name: str) -> None:
    entry = presets()[name]
    assert isinstance(entry.loss.energy.loss, PowerLoss)
    assert entry.loss.energy.loss.exponent == entry.exponent
    assert entry.code
    assert entry.version
    assert entry.source


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_a_finite_number(name: str) -> None:
    value = preset(name)(*sample(1))
    assert value.shape == ()
    assert 0 < float(value) < float("inf")


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(PeslossError, match=r"preset is 'vasp'; allowed: acepotentials, aimnet2,"):
        preset("vasp")
