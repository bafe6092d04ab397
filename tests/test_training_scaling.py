"""The benchmark of growing trainings runs; its seconds are for a machine at rest to say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MODEL

from pesloss.benchmarks import scaling
from pesloss.benchmarks.scaling import Design
from pesloss.data.graphs import build_graphs
from pesloss.data.spec import DatasetSpec
from pesloss.job.errors import PeslossError
from pesloss.job.files import read_table

SMALL = Design(
    n_structures=40,
    n_steps=3,
    batches=(4, 8),
    cutoffs=(3.0, 4.0),
    datasets=(40, 80),
    runs=(1, 3),
)


def test_packings_are_seeded_keep_their_distances_and_are_periodic_every_second_time() -> None:
    one, two = (list(scaling.packings(30, np.random.default_rng(3))) for _ in range(2))
    assert one == two
    assert [bool(atoms.pbc.all()) for atoms in one] == [False, True] * 15
    assert {len(atoms) for atoms in one} == {12, 18, 20, 24, 27}
    for atoms in one:
        apart = atoms.get_all_distances(mic=bool(atoms.pbc.all()))[np.triu_indices(len(atoms), 1)]
        assert apart.min() > 0.4 * scaling.SPACING
        assert atoms.get_forces().shape == (len(atoms), 3)
    periodic = [atoms for atoms in one if atoms.pbc.all()]
    density = [len(atoms) / atoms.get_volume() for atoms in periodic]
    np.testing.assert_allclose(density, 0.05)


def test_every_case_grows_in_its_own_quantity_alone() -> None:
    cases = Design().cases(["schnet", "painn"])
    assert len(cases) == 2 * (4 + 4 + 3 + 3)
    base = {"batch_size": 10, "cutoff": 4.0, "n_structures": 1000, "n_runs": 1}
    for case in cases:
        key = scaling.QUANTITIES[case.quantity]
        assert {k: getattr(case, k) for k in base} == {**base, key: case.value}


def here(call: Callable[..., Any], *arguments: Any) -> Any:
    """Call in this process, to save the imports of another."""
    return call(*arguments)


def test_trainings_of_growing_size_fill_the_table_and_the_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "apart", here)
    scaling.write(scaling.scaling({"schnet": MODEL}, SMALL), tmp_path)
    table = read_table(tmp_path / "scaling.csv")
    assert list(table.columns) == scaling.SCALING_COLUMNS
    assert list(table.quantity) == [name for name in scaling.QUANTITIES for _ in range(2)]
    seconds = [name for name in scaling.SCALING_COLUMNS if name.endswith("_s")]
    assert len(seconds) == 10
    assert (table[seconds] > 0).all(axis=None)
    assert ((table.step_min_s <= table.step_s) & (table.step_s <= table.step_max_s)).all()
    np.testing.assert_allclose(table.atoms_per_s, table.n_atoms / table.step_s)
    each = {name: part.set_index("value") for name, part in table.groupby("quantity")}
    batch, cutoff, structures = (each[name] for name in list(scaling.QUANTITIES)[:3])
    assert 1.5 < batch.n_atoms[8] / batch.n_atoms[4] < 2.5
    assert cutoff.n_pairs[4.0] > 1.5 * cutoff.n_pairs[3.0]
    np.testing.assert_allclose(structures.n_atoms / structures.batch_size, 20, atol=4)
    shared = scaling.SCALING_COLUMNS[3:]  # the same training, measured once
    one, same = structures.loc[[40], shared], each["runs"].loc[[1], shared]
    assert one.reset_index(drop=True).equals(same.reset_index(drop=True))
    for kind in ("svg", "png"):
        assert (tmp_path / f"scaling.{kind}").stat().st_size > 5000


def test_memory_is_that_of_a_process_of_its_own_and_grows_with_the_pairs(tmp_path: Path) -> None:
    found = []
    for n_structures in (2000, 40):
        place = tmp_path / str(n_structures)
        scaling.build(place, n_structures, 4.0)
        case = scaling.Case("structures", n_structures, "schnet", n_structures, 4.0, 4, 1, 1)
        found.append(scaling.apart(scaling.train, place, case, MODEL))
    large, small = found
    pairs = large["n_pairs"] / 4 * 2000 * 40 / 2**20  # MiB, two indices and an offset each
    assert large["peak_mib"] - small["peak_mib"] > 0.8 * pairs
    for row in found:
        assert row["peak_mib"] > row["start_mib"] > 0


def test_bytes_per_pair_are_those_of_arrays_and_file(tmp_path: Path) -> None:
    found = scaling.build(tmp_path, 200, 4.0)
    graphs = build_graphs(list(scaling.packings(200, np.random.default_rng(200))), 4.0)
    case = next(iter(SMALL.cases(["schnet"])))
    row = scaling.train(tmp_path, case, MODEL.model_copy(update={"cutoff": 4.0}))
    n_pairs, n_atoms = len(graphs.centre), len(graphs.numbers)
    # a pair: two indices and an offset; an atom: number, position, force, local energy
    names = graphs.structure.nbytes
    bytes_of_all = 40 * n_pairs + 64 * n_atoms + 24 * 200 + names
    assert row["graphs_bytes_per_pair"] == pytest.approx(bytes_of_all / n_pairs)
    assert found["file_bytes_per_pair"] == pytest.approx(bytes_of_all / n_pairs, rel=0.02)
    assert 0 < row["batcher_bytes_per_pair"] < row["graphs_bytes_per_pair"]


def test_a_workflow_of_empty_jobs_is_measured_by_job() -> None:
    table = scaling.workflow_overhead((1, 3))
    assert list(table.n_jobs) == [1, 3]
    np.testing.assert_allclose(table.main_s_per_job * table.n_jobs, table.main_s)
    assert np.isnan(table.main_s_per_further_job[0])
    assert np.isfinite(table.main_s_per_further_job[1])
    assert (table.drop(columns="main_s_per_further_job") > 0).all(axis=None)


def test_a_workflow_that_fails_is_reported_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "SNAKEFILE", "rule all:\n    input: 'missing-{n_jobs}'\n")
    with pytest.raises(PeslossError, match="workflow of 2 empty jobs: snakemake failed") as error:
        scaling.workflow_overhead([2])
    assert "\n" not in str(error.value)


def test_generation_is_timed_by_phase_and_adds_up() -> None:
    recipe = {"max_atoms": 9, "shares": {"molecule": 1, "water_cluster": 1}}
    spec = DatasetSpec(description="small", kind="xtb_clusters", n_structures=8, recipe=recipe)
    table = scaling.generation(spec, 8).set_index("phase")
    assert sorted(table.index) == ["all", "molecule", "water_cluster"]
    assert table.n_structures["all"] == 8
    assert (table.n_failures == 0).all()
    phases = table.drop(index="all")
    assert table.seconds["all"] == pytest.approx(phases.seconds.sum())
    np.testing.assert_allclose(table.structures_per_s, table.n_structures / table.seconds)
    np.testing.assert_allclose(table.atoms_per_s, table.mean_n_atoms * table.structures_per_s)
