"""Tables of errors against loops over the structures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.data import chemical_symbols
from conftest import RunTiny, Tiny, evaluate

from pesloss.evaluation.errors import error_tables
from pesloss.evaluation.tables import joined, run_tables, statistics_table, summary
from pesloss.job.errors import PeslossError
from pesloss.job.files import read_json, read_table, write_json, write_table
from pesloss.spec.run import Run
from pesloss.statistics.dataset import (
    OTHER,
    DatasetStatistics,
    richest_species,
    size_edges,
    size_group,
)
from pesloss.statistics.labels import force_histogram, force_label_table, label_table
from pesloss.statistics.tail import TAIL


@pytest.fixture
def labels(tiny: Tiny) -> pd.DataFrame:
    return label_table(tiny.table, tiny.splits, tiny.statistics)


def test_standardized_energies_are_those_of_a_loop(tiny: Tiny, labels: pd.DataFrame) -> None:
    mu = dict(zip(tiny.statistics.species, tiny.statistics.mean, strict=True))
    sigma = dict(zip(tiny.statistics.species, tiny.statistics.local_energy_scale, strict=True))
    for atoms, row in zip(tiny.structures, labels.itertuples(), strict=True):
        deviation = atoms.get_potential_energy() - sum(mu[s] for s in atoms.symbols)
        scale = sum(sigma[s] ** 2 for s in atoms.symbols) ** 0.5
        assert row.structure == atoms.info["structure"]
        assert row.energy_deviation == pytest.approx(deviation)
        assert row.energy_scale == pytest.approx(scale)
        assert row.standardized_energy == pytest.approx(deviation / scale)


def test_splits_are_matched_by_name(tiny: Tiny, labels: pd.DataFrame) -> None:
    shuffled = tiny.splits.sample(frac=1, random_state=0, ignore_index=True)
    pd.testing.assert_frame_equal(label_table(tiny.table, shuffled, tiny.statistics), labels)


def test_a_species_without_statistics_is_named_with_its_structure(tiny: Tiny) -> None:
    foreign = tiny.table.assign(n_Au=0)
    label_table(foreign, tiny.splits, tiny.statistics)
    foreign.loc[3, "n_Au"] = 2
    with pytest.raises(PeslossError, match="tiny: structure s03: species is 'Au'; allowed: Al, Cu"):
        label_table(foreign, tiny.splits, tiny.statistics)


def test_force_moments_are_those_of_a_loop(tiny: Tiny) -> None:
    eta = dict(zip(tiny.statistics.species, tiny.statistics.force_scale, strict=True))
    table = force_label_table(tiny.structures, tiny.statistics).set_index(["structure", "species"])
    rows = 0
    for atoms in tiny.structures:
        for species in sorted(set(atoms.symbols)):
            values = atoms.get_forces()[atoms.symbols == species].ravel() / eta[species]
            row = table.loc[(atoms.info["structure"], species)]
            assert row.n_components == len(values)
            assert row.mean_square == pytest.approx(np.mean(values**2))
            assert row.n_tail == sum(abs(v) > TAIL for v in values)
            rows += 1
    assert rows == len(table)


def test_a_histogram_counts_every_component(tiny: Tiny) -> None:
    counts = force_histogram(tiny.structures, tiny.statistics).groupby("species")["count"].sum()
    symbols = [str(s) for atoms in tiny.structures for s in atoms.symbols]
    assert counts.to_dict() == {s: 3 * symbols.count(s) for s in set(symbols)}


def test_a_dataset_without_structures_has_empty_force_tables(tiny: Tiny) -> None:
    assert force_label_table([], tiny.statistics).empty
    assert force_histogram([], tiny.statistics).empty


def test_errors_are_those_of_a_loop(tiny: Tiny, labels: pd.DataFrame, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    chosen = [4, 2, 9, 14]
    sizes = [len(tiny.structures[i]) for i in chosen]
    energy, local = rng.normal(size=4), rng.normal(size=sum(sizes))
    forces = rng.normal(size=(sum(sizes), 3))
    names = tiny.graphs.structure[chosen]
    path = tmp_path / "p.npz"
    np.savez(path, structure=names, energy=energy, forces=forces, local_energy=local)
    structures, atoms = error_tables(path, tiny.graphs, labels)
    at, expected = 0, []
    for place, index in enumerate(chosen):
        truth, row = tiny.structures[index], structures.iloc[place]
        error = forces[at : at + len(truth)] - truth.get_forces()
        at += len(truth)
        assert row.structure == names[place]
        assert row.energy_error == pytest.approx(energy[place] - truth.get_potential_energy())
        assert row.force_mse == pytest.approx(np.mean(error**2))
        assert row.size_group == labels.size_group[index]
        if tiny.splits.split[index] == "test":
            squares = [float(np.mean(e**2)) for e in error]
            symbols = [chemical_symbols[z] for z in truth.numbers]
            expected += list(zip([str(names[place])] * len(truth), symbols, squares, strict=True))
    assert list(zip(atoms.structure, atoms.species, strict=True)) == [e[:2] for e in expected]
    assert atoms.force_error_square.tolist() == pytest.approx([e[2] for e in expected])


def test_predictions_of_other_structures_are_refused(
    tiny: Tiny, labels: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "p.npz"
    arrays = {"energy": np.zeros(1), "forces": np.zeros((1, 3)), "local_energy": np.zeros(1)}
    np.savez(path, allow_pickle=False, structure=np.array(["s00"]), **arrays)
    with pytest.raises(PeslossError, match=r"p\.npz: 1 forces, not 2"):
        error_tables(path, tiny.graphs, labels)
    np.savez(path, allow_pickle=False, structure=np.array(["water"]), **arrays)
    with pytest.raises(PeslossError, match="structure is 'water'"):
        error_tables(path, tiny.graphs, labels)


def test_size_groups_hold_their_sizes_and_about_equal_numbers() -> None:
    sizes = np.random.default_rng(0).integers(2, 100, 400)
    edges = size_edges(sizes)
    groups = pd.Series(size_group(sizes, edges))
    for name, part in pd.Series(sizes).groupby(groups.to_numpy()):
        low, high = map(int, str(name).split("–"))
        assert part.between(low, high).all()
    assert groups.value_counts().between(80, 120).all()
    assert groups.nunique() == 4


@pytest.mark.parametrize("sizes", [[5] * 20, [5] * 18 + [6, 7], [3, 9]])
def test_few_sizes_make_few_groups(sizes: list[int]) -> None:
    n = np.array(sizes)
    groups = size_group(n, size_edges(n))
    assert len(set(groups)) <= len(set(sizes))
    assert len(groups) == len(sizes)


def test_sizes_beyond_the_edges_fall_into_the_nearest_group() -> None:
    assert size_group(np.array([1, 4, 500]), (4, 8, 20)) == ["4–7", "4–7", "8–20"]


def test_the_richest_species_stands_out_most_from_the_mean(tiny: Tiny) -> None:
    counts = np.array([[9.0, 1], [1, 9], [5, 5]])
    found = richest_species(counts, ("Al", "Cu"), (0.8, 0.2), (0.1, 0.1))
    assert found == ["Al", "Cu", "Cu"]
    groups = tiny.statistics.composition_group(counts)
    assert set(groups) <= {*tiny.statistics.composition_groups, OTHER}


def test_statistics_come_back_exactly(tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    tiny.statistics.write(path)
    assert DatasetStatistics.read(path) == tiny.statistics


@pytest.mark.parametrize("key", ["mean", "local_energy_scale", "force_scale", "fraction_std"])
def test_statistics_of_another_length_are_refused(tiny: Tiny, tmp_path: Path, key: str) -> None:
    path = tmp_path / "statistics.json"
    tiny.statistics.write(path)
    content = read_json(path)
    content[key] = content[key][:1]
    write_json(path, content)
    with pytest.raises(PeslossError, match=f"number of entries of {key} is 1; allowed: 2"):
        DatasetStatistics.read(path)


def test_one_row_a_species(tiny: Tiny, tmp_path: Path) -> None:
    tiny.statistics.write(tmp_path / "s.json")
    table = statistics_table([str(tmp_path / "s.json")])
    assert list(table.species) == ["Al", "Cu"]
    assert table.std_ev.tolist() == list(tiny.statistics.std)


def test_empty_tables_join_without_a_trace(tmp_path: Path) -> None:
    for name, table in (
        ("a", pd.DataFrame(columns=["x"])),
        ("b", pd.DataFrame({"x": [1, 2]})),
    ):
        write_table(tmp_path / f"{name}.csv", table)
    found = joined(["a", "b"], [str(tmp_path / f"{n}.csv") for n in "ab"])
    assert found.to_dict("list") == {"dataset": ["b", "b"], "x": [1, 2]}


def test_a_summary_is_that_of_a_loop() -> None:
    errors = pd.DataFrame(
        {
            "energy_error": [0.3, -0.4],
            "n_atoms": [1, 4],
            "energy_scale": [0.1, 0.2],
            "force_mse": [1.0, 2.0],
        }
    )
    found = summary(errors)
    expected = {
        "n_structures": 2,
        "energy_rmse_mev": 1e3 * ((0.3**2 + 0.4**2) / 2) ** 0.5,
        "energy_rmse_mev_per_atom": 1e3 * ((0.3**2 + 0.1**2) / 2) ** 0.5,
        "energy_rmse_mev_per_root_atom": 1e3 * ((0.3**2 + 0.2**2) / 2) ** 0.5,
        "standardized_energy_rmse": ((3**2 + 2**2) / 2) ** 0.5,
        "bias_mev_per_atom": 1e3 * (0.3 - 0.1) / 2,
        "spread_mev_per_root_atom": 1e3 * (0.3 + 0.2) / 2,
        "force_rmse_mev_per_angstrom": 1e3 * ((1 * 1 + 2 * 4) / 5) ** 0.5,
    }
    assert found == pytest.approx(expected)


def test_a_suite_without_runs_has_the_same_columns(
    tiny: Tiny, run_tiny: RunTiny, tmp_path: Path
) -> None:
    path = tmp_path / "statistics" / "tiny" / "labels.csv"
    write_table(path, label_table(tiny.table, tiny.splits, tiny.statistics))
    files = run_tiny("raw", run=Run("tiny", "schnet", "raw"))
    out = files.record.parent / "structures.csv.gz"
    graphs = files.record.parent / "graphs.npz"
    evaluate(files, graphs, path)
    none, one = run_tables([], [str(path)]), run_tables([str(out)], [str(path)])
    for name in one:
        assert len(none[name]) == 0
        assert set(none[name].columns) <= set(one[name].columns), name


def test_shares_of_the_signal_add_up(tiny: Tiny, run_tiny: RunTiny, tmp_path: Path) -> None:
    folder = tmp_path / "statistics" / "tiny"
    path = folder / "labels.csv"
    write_table(path, label_table(tiny.table, tiny.splits, tiny.statistics))
    evaluated = []
    for loss in ("raw", "standardized"):
        files = run_tiny(loss, run=Run("tiny", "schnet", loss))
        out = files.record.parent / "structures.csv.gz"
        graphs = files.record.parent / "graphs.npz"
        evaluate(files, graphs, path)
        evaluated.append(str(out))
    tables = run_tables(evaluated, [str(path)])
    signal = tables["signal"]
    assert set(signal.axis) == {"size_group", "composition_group"}
    for _, part in signal.groupby(["energy_loss", "axis", "step", "quantity"]):
        mean = np.average(part.share_over_expected, weights=part.n_structures)
        assert mean == pytest.approx(1)
    assert list(tables["runs"].energy_loss) == ["raw", "standardized"]
    tested = int((tiny.splits.split == "test").sum())
    assert len(tables["errors"]) == 2 * tested
    per_axis = tables["groups"].groupby(["energy_loss", "axis"]).n_structures.sum()
    assert (per_axis == tested).all()
    atoms = read_table(Path(evaluated[0]).with_name("atoms.csv.gz"))
    by_species = tables["species"][tables["species"].energy_loss == "raw"].set_index("species")
    for species, part in atoms.groupby("species"):
        rmse = np.sqrt(part.force_error_square.mean())
        assert by_species.force_rmse_ev_per_angstrom[str(species)] == pytest.approx(rmse)
