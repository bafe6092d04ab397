"""Correlation of local deviations and the exponent it predicts, on planted truths."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from conftest import RunTiny, Tiny, evaluate, failure
from numpy.typing import NDArray

from pesloss.claims.correlation import MODELS, PairMoments, parts
from pesloss.claims.correlation_tables import (
    CORRELATION,
    EXPONENTS,
    correlation_rows,
    correlation_tables,
)
from pesloss.claims.measurement import LabelData, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures import predicted_label_exponent
from pesloss.data.graphs import build_graphs
from pesloss.evaluation.correlation import (
    EDGES,
    PairShells,
    pair_products,
    pair_shells,
    write_error_products,
    write_label_products,
    write_pair_shells,
)
from pesloss.evaluation.results import RunResult
from pesloss.inference import exponent_of, exponent_of_sums, fit_exponent
from pesloss.job.errors import PeslossError
from pesloss.job.files import read_table, write_table
from pesloss.spec.run import Run
from pesloss.statistics.labels import force_label_table, label_table

Array = NDArray[np.float64]


def cell(rng: np.random.Generator, n: int, name: str, periodic: bool = True) -> Atoms:
    """Atoms at random in a skewed box, fifty cubic ångströms for each."""
    box = (50.0 * n) ** (1 / 3) * (np.eye(3) + 0.15 * rng.normal(size=(3, 3)))
    atoms = Atoms(f"Si{n}", scaled_positions=rng.random((n, 3)), cell=box, pbc=periodic)
    atoms.info = {"structure": name, "group": name, "phase": "liquid"}
    atoms.set_array("local_energy", np.zeros(n))
    return atoms


def nearest_of_many_images(atoms: Atoms) -> Array:
    """Distances (N, N) by trying every image up to three cells away."""
    n, best = len(atoms), np.full((len(atoms),) * 2, np.inf)
    images = itertools.product(*(range(-3, 4) if periodic else (0,) for periodic in atoms.pbc))
    for image in images:
        shift = np.array(image) @ atoms.cell.array
        for i in range(n):
            best[i] = np.minimum(
                best[i], np.linalg.norm(atoms.positions + shift - atoms.positions[i], axis=1)
            )
    return best


@pytest.mark.parametrize("pbc", [(True,) * 3, (True, True, False), (False,) * 3])
def test_a_pair_stands_in_the_shell_of_its_nearest_image(pbc: tuple[bool, ...]) -> None:
    rng = np.random.default_rng(1)
    structures = [cell(rng, n, f"s{n}") for n in (2, 9, 40)]
    for atoms in structures:
        atoms.pbc = pbc
    for (name, shell), atoms in zip(pair_shells(structures).items(), structures, strict=True):
        distance = nearest_of_many_images(atoms)
        assert name == atoms.info["structure"]
        for i, j in itertools.product(range(len(atoms)), repeat=2):
            if i == j:
                assert shell[i, j] == 0
            else:
                assert EDGES[shell[i, j] - 1] <= distance[i, j] < EDGES[shell[i, j]]


def test_products_are_those_of_a_loop_and_add_up_to_the_energy() -> None:
    rng = np.random.default_rng(2)
    structures = [cell(rng, n, f"s{n}") for n in (1, 3, 12)]
    shells = pair_shells(structures)
    deviation = {str(a.info["structure"]): rng.normal(size=len(a)) for a in structures}
    table = pair_products(shells, deviation).set_index(["structure", "high"])
    for atoms in structures:
        name, distance = atoms.info["structure"], nearest_of_many_images(atoms)
        d, expected = deviation[name], dict.fromkeys((0.0, *EDGES[1:]), 0.0)
        for i, j in itertools.product(range(len(atoms)), repeat=2):
            high = 0.0 if i == j else next(e for e in EDGES if e > distance[i, j])
            expected[high] += d[i] * d[j]
        for row in table.loc[name].reset_index().to_dict("records"):
            assert row["product"] == pytest.approx(expected[row["high"]])
        assert table.loc[name]["product"].sum() == pytest.approx(d.sum() ** 2)
        assert table.loc[name]["n_pairs"].sum() == len(atoms) ** 2


def test_the_order_of_atoms_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    atoms, d = cell(rng, 15, "a"), rng.normal(size=15)
    order = rng.permutation(15)
    one = pair_products(pair_shells([atoms]), {"a": d})
    mixed = atoms[order]
    mixed.info = atoms.info
    other = pair_products(pair_shells([mixed]), {"a": d[order]})
    pd.testing.assert_frame_equal(one, other)


def test_mistakes_in_local_deviations_are_named(tmp_path: Path) -> None:
    atoms = cell(np.random.default_rng(0), 4, "a")
    shells = pair_shells([atoms])
    bad: dict[str, Array] = {"a": np.zeros(3)}
    assert "structure a: local deviations are not 4 numbers" in failure(
        lambda: pair_products(shells, bad)
    )
    assert "not 4 numbers" in failure(lambda: pair_products(shells, {"a": np.full(4, np.nan)}))
    assert "structure is 'b'" in failure(lambda: pair_products(shells, {"b": np.zeros(4)}))
    del atoms.arrays["local_energy"]
    assert "structure a: array 'local_energy' is missing" in failure(lambda: pair_shells([atoms]))
    path = tmp_path / "shells.npz"
    assert "no such file" in failure(lambda: PairShells.read(path))
    shells.write(path)
    np.testing.assert_array_equal(PairShells.read(path).shell, shells.shell)
    path.write_bytes(path.read_bytes()[:100])
    assert "not a file of pair shells" in failure(lambda: PairShells.read(path))


@dataclass(frozen=True)
class Planted:
    """Structures whose local deviations were drawn with a known covariance."""

    structures: pd.DataFrame
    products: list[pd.DataFrame]
    moments: PairMoments
    variance: Array  # (K,) of the sum of local deviations
    covariance: dict[float, float]  # mean over the pairs of each shell, by its upper limit

    @property
    def ones(self) -> Array:
        return np.ones((1, len(self.products), len(self.structures)))

    def interval(self, statistic: Callable[[Array], Array]) -> Measurement:
        sampling = Sampling(np.random.default_rng(0), 300, 0.95)
        found = sampling.interval(statistic, self.moments.family, len(self.products))
        assert isinstance(found, Measurement)
        return found


def planted(
    seed: int,
    reach: float,
    tau: float,
    sizes: tuple[int, ...] = (4, 8, 16, 32, 64, 100),
    copies: int = 30,
    n_seeds: int = 1,
    unit: float = 1.0,
) -> Planted:
    """δ = ξ and 0.4 of its neighbours' ξ up to ``reach``, plus τ u of the structure."""
    rng = np.random.default_rng(seed)
    structures = [
        cell(rng, n, f"s{n:03}-{i:02}") for n, i in itertools.product(sizes, range(copies))
    ]
    shells, table = pair_shells(structures), []
    deviations: list[dict[str, Array]] = [{} for _ in range(n_seeds)]
    variance, total, count = [], dict.fromkeys(EDGES[1:], 0.0), dict.fromkeys(EDGES[1:], 0)
    for atoms, (name, shell) in zip(structures, shells.items(), strict=True):
        near = atoms.get_all_distances(mic=True) < reach
        spread = np.eye(len(atoms)) + 0.4 * (near & ~np.eye(len(atoms), dtype=bool))
        covariance = spread @ spread.T + tau**2
        for deviation in deviations:
            drawn = spread @ rng.normal(size=len(atoms)) + tau * rng.normal()
            deviation[name] = unit * drawn
        variance.append(covariance.sum())
        for place in range(1, len(EDGES)):
            total[EDGES[place]] += float(covariance[shell == place].sum())
            count[EDGES[place]] += int((shell == place).sum())
        first = float(np.mean([deviation[name].sum() for deviation in deviations]))
        table.append((name, name, "liquid", len(atoms), first))
    columns = ["structure", "group", "phase", "n_atoms", "energy_deviation"]
    made = pd.DataFrame(table, columns=columns)
    square = np.array([[d[name].sum() ** 2 for name in made.structure] for d in deviations])
    products = [pair_products(shells, deviation) for deviation in deviations]
    return Planted(
        made,
        products,
        PairMoments.of_tables(made, square, products),
        np.array(variance),
        {high: total[high] / count[high] for high in total if count[high]},
    )


@pytest.mark.parametrize(("reach", "tau"), [(0.0, 0.0), (3.5, 0.0), (3.5, 0.5), (0.0, 0.5)])
def test_a_planted_correlation_is_found_shell_by_shell(reach: float, tau: float) -> None:
    data = planted(4, reach, tau)
    rows = correlation_rows(data.structures, data.moments, data.products)
    found = rows[rows.quantity == "correlation"].set_index("high")
    itself = data.products[0][data.products[0].high == 0]
    variance = float(itself["product"].sum() / itself.n_pairs.sum())
    compared = 0
    for high, covariance in data.covariance.items():
        row = found.loc[high]
        if row.n_families < 30:
            continue
        error = (row.ci_high - row.ci_low) / (2 * 1.96)
        assert abs(row.value - covariance / variance) < 4 * error < 0.3
        compared += 1
    assert compared >= 7
    (summed,) = rows[rows.quantity == "summed"].to_dict("records")
    truth = data.variance.sum() / (variance * data.structures.n_atoms.sum())
    assert abs(summed["value"] - truth) < 4 * (summed["ci_high"] - summed["ci_low"]) / (2 * 1.96)


@pytest.mark.parametrize(
    ("reach", "tau", "right", "wrong"),
    [
        (0.0, 0.0, MODELS, ()),
        (3.0, 0.0, ("short_range", "shared"), ()),
        (0.0, 1.0, ("shared",), ("independent", "short_range")),
        (3.0, 0.7, ("shared",), ("independent",)),
    ],
)
def test_the_right_model_predicts_the_exponent_and_a_wrong_one_is_refuted(
    reach: float, tau: float, right: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    data = planted(5, reach, tau)
    truth = fit_exponent(data.structures.n_atoms, data.variance)
    for model in right:
        predicted = data.interval(partial(data.moments.predicted, model=model))
        difference = data.interval(data.moments.difference(model))
        error = (predicted.high - predicted.low) / (2 * 1.96)
        assert abs(predicted.estimate - truth) < 4 * error + 1e-3 < 0.3
        assert difference.low < 0 < difference.high
        assert abs(difference.estimate) < 0.1
    for model in wrong:
        assert data.interval(data.moments.difference(model)).low > 0.0


def test_independent_atoms_give_one_half_and_those_that_share_all_one() -> None:
    data = planted(6, 3.5, 0.6, copies=6)
    alone = data.moments.predicted(data.ones, "independent")[0]
    assert alone == pytest.approx(0.5, abs=5e-3)  # each family is left out of its own variance
    every = [p.assign(product=p.n_pairs.astype(float)) for p in data.products]
    square = data.structures.n_atoms.to_numpy(float)[None] ** 2
    same = PairMoments.of_tables(data.structures, square, every)
    assert same.predicted(data.ones, "shared")[0] == pytest.approx(1.0)
    assert same.measured(data.ones)[0] == pytest.approx(1.0)


def test_what_atoms_take_from_their_neighbours_shows_in_shells_and_not_in_the_sum() -> None:
    """Give half of an atom's deviation away: near pairs change, the energy does not."""
    rng = np.random.default_rng(7)
    atoms = [cell(rng, 32, f"s{i:02}") for i in range(60)]
    shells = pair_shells(atoms)
    one: dict[str, Array] = {}
    other: dict[str, Array] = {}
    for a in atoms:
        near = (a.get_all_distances(mic=True) < 3.5) & ~np.eye(32, dtype=bool)
        gauge = near * rng.normal(size=(32, 32))
        name, d = str(a.info["structure"]), rng.normal(size=32)
        one[name], other[name] = d, d + gauge.sum(1) - gauge.sum(0)
    before, after = (pair_products(shells, d) for d in (one, other))
    total = [t.groupby("structure")["product"].sum() for t in (before, after)]
    pd.testing.assert_series_equal(total[0], total[1])
    by_shell = [t.groupby("high")["product"].sum() / 60 for t in (before, after)]
    assert by_shell[1][0.0] > 3 * by_shell[0][0.0]
    assert by_shell[1].loc[3.0:4.0].sum() < by_shell[0].loc[3.0:4.0].sum() - 50


def test_the_unit_does_not_matter() -> None:
    one, other = planted(8, 3.0, 0.3, copies=8), planted(8, 3.0, 0.3, copies=8, unit=23.06)
    for model in MODELS:
        assert other.moments.difference(model)(other.ones) == pytest.approx(
            one.moments.difference(model)(one.ones)
        )
    left, right = (correlation_rows(d.structures, d.moments, d.products) for d in (one, other))
    assert right.value.to_numpy() == pytest.approx(left.value.to_numpy())


def test_a_prediction_does_not_see_its_own_family() -> None:
    """The slow twin leaves each family out of a sum of its own."""
    data = planted(9, 3.0, 0.5, sizes=(4, 9, 20), copies=5, n_seeds=2)
    moments = data.moments
    squares = np.zeros(len(data.structures))
    for k, family in enumerate(moments.family):
        others = moments.family != family
        for s in range(moments.n_pairs.shape[1]):
            pairs = 2 * moments.n_pairs[others, s].sum()
            if pairs:
                mean = moments.product[:, others, s].sum() / pairs
                squares[k] += moments.n_pairs[k, s] * mean
    squares = np.maximum(squares, 0)
    levels = np.unique(moments.n_atoms)
    sums = np.array([squares[moments.n_atoms == n].sum() for n in levels])
    counts = np.array([(moments.n_atoms == n).sum() for n in levels], dtype=float)
    expected = exponent_of_sums(levels, counts, sums)
    assert moments.predicted(data.ones, "shared") == pytest.approx(expected)


def test_weights_are_repetitions() -> None:
    data = planted(10, 3.0, 0.5, sizes=(4, 9, 20), copies=5, n_seeds=2)
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, len(data.structures)).astype(float)
    place = np.repeat(np.arange(len(weights)), weights.astype(int))
    m = data.moments
    again = PairMoments(
        m.n_atoms[place],
        m.phase[place],
        m.family[place],
        m.square[:, place],
        m.n_pairs[place],
        m.product[:, place],
    )
    rows = np.broadcast_to(weights, (1, 2, len(weights)))
    ones = np.ones((1, 2, len(place)))
    for model in MODELS:
        assert m.difference(model)(rows) == pytest.approx(again.difference(model)(ones))


def test_phases_have_moments_of_their_own() -> None:
    """Hot large cells and cold small ones: independent atoms, and yet no half."""
    cold = planted(11, 0.0, 0.0, sizes=(4, 8), copies=40)
    hot = planted(12, 0.0, 0.0, sizes=(40, 60), copies=40, unit=3.0)
    table = pd.concat([cold.structures, hot.structures.assign(phase="hot")], ignore_index=True)
    products = [pd.concat(pair) for pair in zip(cold.products, hot.products, strict=True)]
    square = np.concatenate([cold.moments.square, hot.moments.square], axis=1)
    both = PairMoments.of_tables(table, square, products)
    ones = np.ones((1, 1, len(table)))
    mixed = both.predicted(ones, "independent")[0]
    assert mixed > 0.8
    assert abs(both.difference("independent")(ones)[0]) < 0.1
    masks = parts(table, "phase", 40)
    assert list(masks) == ["hot", "liquid"]
    for mask in masks.values():
        within = both.within(mask)
        found = within.predicted(np.ones((1, 1, mask.sum())), "independent")[0]
        assert found == pytest.approx(0.5, abs=5e-3)
    assert parts(table, "phase", 81) == {}


def test_products_that_are_not_those_of_the_energies_are_refused() -> None:
    data = planted(13, 0.0, 0.0, sizes=(4, 8), copies=4)
    square = data.moments.square.copy()
    square[0, 3] += square.mean()
    name = data.structures.structure[3]
    assert f"structure {name}: local deviations do not add up" in failure(
        lambda: PairMoments.of_tables(data.structures, square, data.products)
    )
    fewer = [p[p.structure != name] for p in data.products]
    assert f"structure {name} is missing" in failure(
        lambda: PairMoments.of_tables(data.structures, data.moments.square, fewer)
    )


def test_exponents_of_sums_are_those_of_structures() -> None:
    rng = np.random.default_rng(14)
    n = rng.choice([2, 5, 9, 30], 200)
    y, w = rng.exponential(n**1.3), rng.integers(0, 3, (5, 200)).astype(float)
    levels = np.unique(n)
    level = (n[:, None] == levels).astype(float)
    found = exponent_of_sums(levels, w @ level, (w * y) @ level)
    assert found == pytest.approx(exponent_of(n, y, w))
    low = exponent_of_sums(levels, w @ level, (w * y) @ level - [1e3, 0, 0, 0])
    assert np.isfinite(low).all()
    with pytest.raises(PeslossError, match="exponent_of_sums: shapes"):
        exponent_of_sums(levels, w, w)


def local(tiny: Tiny) -> list[Atoms]:
    """The tiny structures with local energies that add up to their energies."""
    found: list[Atoms] = []
    for atoms in tiny.structures:
        copy = atoms.copy()
        copy.info, copy.calc = dict(atoms.info), atoms.calc
        rng = np.random.default_rng(len(found))
        share = rng.dirichlet(np.ones(len(atoms)))
        copy.set_array("local_energy", share * atoms.get_potential_energy())
        found.append(copy)
    return found


def test_tables_are_made_from_files_of_earlier_stages(
    tiny: Tiny, run_tiny: RunTiny, tmp_path: Path
) -> None:
    structures = local(tiny)
    folder = tmp_path / "statistics" / "tiny"
    write_table(folder / "labels.csv", label_table(tiny.table, tiny.splits, tiny.statistics))
    write_table(folder / "force_labels.csv", force_label_table(tiny.structures, tiny.statistics))
    tiny.statistics.write(folder / "statistics.json")
    write_table(tmp_path / "splits.csv", tiny.splits)
    write_pair_shells(structures, tmp_path / "splits.csv", tmp_path / "shells.npz")
    statistics = folder / "statistics.json"
    write_label_products(tmp_path / "shells.npz", statistics, folder / "correlation.csv")
    labels = read_table(folder / "labels.csv").set_index("structure")
    sums = read_table(folder / "correlation.csv").groupby("structure")["product"].sum()
    held_out = labels[labels.split != "train"]
    assert sums.to_dict() == pytest.approx((held_out.energy_deviation**2).to_dict())

    runs = []
    for loss in ("raw", "standardized"):
        files = run_tiny(loss, run=Run("tiny", "schnet", loss))
        out = files.record.parent
        build_graphs(structures, tiny.model.cutoff).write(out / "local.npz")
        evaluate(files, out / "local.npz", folder / "labels.csv")
        products = (out / "correlation.csv", out / "correlation.json")
        write_error_products(tmp_path / "shells.npz", out / "atoms.csv.gz", *products)
        tested = RunResult(Run("tiny", "schnet", loss), out).split("test").set_index("structure")
        sums = read_table(out / "correlation.csv").groupby("structure")["product"].sum()
        assert sums.to_dict() == pytest.approx((tested.energy_error**2).to_dict(), rel=1e-3)
        runs.append(out)
    tables = correlation_tables([folder], runs, 50)
    assert list(tables["correlation"]) == list(CORRELATION)
    assert list(tables["exponents"]) == list(EXPONENTS)
    assert set(tables["correlation"].series) == {"labels", "raw", "standardized"}
    which = tables["exponents"].groupby("series").which.unique()
    assert list(which["labels"]) == ["measured", *MODELS]
    none = correlation_tables([], [], 50)
    for name, columns in (("correlation", CORRELATION), ("exponents", EXPONENTS)):
        assert none[name].empty
        assert list(none[name]) == list(columns)


def test_labels_have_a_predicted_exponent(tiny: Tiny, tmp_path: Path) -> None:
    data = planted(15, 0.0, 0.5, sizes=(4, 8, 16, 32))
    table = data.structures.assign(split="test")
    products = data.products[0]
    write_table(tmp_path / "statistics" / "made" / "correlation.csv", products)
    labels = LabelData("made", table, pd.DataFrame(), tiny.statistics, tmp_path)
    sampling = Sampling(np.random.default_rng(0), 200, 0.95)

    def measured(**options: str) -> list[Any]:
        return list(predicted_label_exponent.measure(labels, options, sampling))

    (shared,), (alone,) = measured(), measured(model="independent", by="phase")
    assert shared.low < 0 < shared.high
    assert alone.low > 0.1
    assert alone.group == "liquid"
    one = LabelData("made", table.assign(group="one"), pd.DataFrame(), tiny.statistics, tmp_path)
    (found,) = predicted_label_exponent.measure(one, {}, sampling)
    assert isinstance(found, NotMeasurable)
