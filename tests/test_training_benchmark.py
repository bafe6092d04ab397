"""The benchmark of trainings runs; what it finds is for a machine at rest to say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Tiny

from pesloss.benchmarks import step
from pesloss.benchmarks.training import benchmark, write
from pesloss.job.files import read_table
from pesloss.spec.settings import ModelSpec
from pesloss.training.compiled_step import PARTS


# SchNetPack's neighbour list hands tensors to ASE, which NumPy 2 would rather be told about.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_trainer_is_timed_as_often_and_the_ratios_are_to_schnetpacks(
    tiny: Tiny, tmp_path: Path
) -> None:
    parts = [
        benchmark(
            tiny.structures,
            "tiny",
            tiny.model.model_copy(update={"representation": kind}),
            n_runs=2,
            size=8,
        )
        for kind in ("schnet", "painn")
    ]
    empty = pd.DataFrame()
    write(pd.concat(parts, ignore_index=True), empty, empty, tmp_path)
    table = read_table(tmp_path / "training.csv")
    own = ["pesloss", "pesloss_group"]
    others = ["schnetpack", "schnetpack_loaded", "eager"]
    in_torch = ["torch"] * bool(step.instruction_sets())
    assert list(table.trainer) == [*others, *in_torch, *own] * 2
    assert set(table.members[table.trainer == "pesloss_group"]) == {7}
    assert (table.runs == 2).all()
    assert ((table["min"] <= table.atoms_per_s) & (table.atoms_per_s <= table["max"])).all()
    base = table.groupby("model").atoms_per_s.transform("first")
    assert np.allclose(table.ratio, table.atoms_per_s / base)
    assert (table.floor_atoms_per_s > 0).all()
    for kind in ("svg", "png"):
        assert (tmp_path / f"training.{kind}").stat().st_size > 5000


needs_compiler = pytest.mark.skipif(not step.instruction_sets(), reason="no C compiler here")


@needs_compiler
def test_groups_are_timed_by_every_instruction_set(tiny: Tiny) -> None:
    table = step.groups(tiny.structures, "tiny", tiny.model, 2, 8, (1, 3))
    sets = step.instruction_sets()
    assert sets[-1] == "plain"
    assert list(zip(table.instructions, table.members, strict=True)) == [
        (name, number) for name in sets for number in (1, 3)
    ]
    assert ((table["min"] <= table.ms_per_step) & (table.ms_per_step <= table["max"])).all()
    steps, atoms = len(tiny.structures) // 8, tiny.graphs.n_atoms.sum()
    seconds = table.members * steps * table.ms_per_step / 1e3
    # An epoch's batches hold eight of forty structures each.
    assert np.allclose(table.atoms_per_s, table.members * atoms / seconds)
    assert (table.times_floor > 1).all()


@needs_compiler
def test_the_parts_of_a_step_are_all_of_it(tiny: Tiny) -> None:
    table = step.parts(tiny.structures, "tiny", tiny.model, 2, 8, 3)
    for _, part in table.groupby("instructions"):
        assert list(part.part) == [*PARTS, "Python"]
        assert part.share.sum() == pytest.approx(1)
        assert (part.ms_per_step > 0).all()


def test_counted_operations_are_those_of_the_products_that_are_written_out() -> None:
    model = ModelSpec(representation="schnet", n_features=4, n_interactions=1, n_radial=3)
    per_pair = step.counted(model, 2, 0, 0, 1)
    forward = 2 * 2 * (3 * 4 + 4 * 4)  # output and slope through both layers
    backward = 2 * 2 * (4 * 4 + 4 * 4 + 3 * 4)  # hidden layer, second and first weights
    assert per_pair - forward - backward == 4 * (16 + 32)  # and what goes number by number
    two = model.model_copy(update={"n_interactions": 2})
    assert step.counted(two, 2, 0, 0, 1) - 2 * per_pair == 12 * 4
    assert step.counted(model, 2, 7, 0, 0) == 12 * 7
    assert step.counted(model, 2, 0, 1, 0) == 15 * 2 * 16 + 6 * 2 * 4 * 2 + 12 * 4


def test_counted_operations_of_painn_grow_as_its_products() -> None:
    """With many features products of F × F matrices are all there is, of which it has so many."""
    model = ModelSpec(representation="painn", n_features=4096, n_interactions=2, n_radial=3)
    squares = step.counted(model, 0, 0, 1, 0) / (2 * 4096**2)
    # Contexts, vectors, mixing of both blocks; vectors into the second, vectors out of the first.
    forward = 2 * (3 + 2 * 3 + 4) + 1 + 1
    # Values, slopes (but for those by the embedding), both once more, two outer products of each.
    assert squares == pytest.approx(6 * forward - 1)
    one = model.model_copy(update={"n_interactions": 1, "n_features": 4})
    two = model.model_copy(update={"n_features": 4})
    pairs = [step.counted(m, 0, 0, 0, 1) for m in (one, two)]
    assert pairs[0] == 2 * (8 * 3 * 4 + 8 * 4) + 221 * 4
    assert pairs[1] - 2 * pairs[0] == (8 * 3 * 4 + 8 * 4) + 128 * 4
