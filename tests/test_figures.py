"""Figures: drawn from their own numbers alone, repeatable, one colour a loss."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pesloss.job.errors import PeslossError
from pesloss.job.files import read_table, write_table
from pesloss.linear import summary
from pesloss.report import drawing

FIGURES = sorted(p.stem for p in drawing.FIGURES.glob("*.py") if p.stem[0] != "_")
LOSSES = ("raw", "sqrt_n", "per_atom", "standardized")
RUN = ["dataset", "model", "energy_loss", "force_loss", "metric", "force_weight", "seed", "variant"]
SIZES = ("2–5", "6–20", "21–60")
CLAIM = [
    *("claim", "dataset", "model", "loss", "statistic", "estimate", "ci_low", "ci_high"),
    *("expected", "margin", "verdict", "n_seeds", "subject", "group", "options", "relation"),
    *("variant", "must_be", "ablation"),
]


def _labels(datasets: tuple[str, ...]) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for dataset in datasets:
        n = np.repeat([2, 4, 10, 20, 30, 60], 8)
        frame = pd.DataFrame({"dataset": dataset, "n_atoms": n})
        frame["structure"] = [f"{dataset}_{i:03d}" for i in range(len(n))]
        frame["group"] = [f"family_{i // 2}" for i in range(len(n))]
        frame["split"] = np.resize(["train", "test", "test", "validation"], len(n))
        frame["size_group"] = np.repeat(SIZES, 16)
        frame["energy_deviation"] = rng.normal(size=len(n)) * np.sqrt(n)
        frame["standardized_energy"] = frame.energy_deviation / np.sqrt(n)
        rows.append(frame)
    return pd.concat(rows)


def _runs() -> pd.DataFrame:
    weights, seeds = (0.1, 1.0), (0, 1)
    base = [
        ("xtb_varied", "schnet", loss, "raw", "mse", weight, seed, "base")
        for loss, weight, seed in itertools.product(LOSSES, weights, seeds)
    ]
    other = [
        ("xtb_varied", "schnet", "standardized", "standardized", "mse", 1.0, s, "base")
        for s in seeds
    ]
    painn = [("xtb_varied", "painn", loss, "raw", "mse", 1.0, 0, "base") for loss in LOSSES]
    return pd.DataFrame(base + other + painn, columns=RUN)


def _measured(runs: pd.DataFrame, rows: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = runs.merge(rows, how="cross")
    return table.assign(**{name: rng.lognormal(size=len(table)) for name in columns})


def _claims() -> pd.DataFrame:
    def row(claim: str, statistic: str, model: str = "", loss: str = "", **more: object) -> object:
        about = {"claim": claim, "dataset": "xtb_varied", "model": model, "loss": loss,
                 "statistic": statistic, "estimate": 0.7, "ci_low": 0.6, "ci_high": 0.9,
                 "expected": 0.5, "margin": 0.1, "verdict": "undecided", "n_seeds": 1,
                 "subject": "errors" if model else "labels", "variant": "base" if model else None,
                 "relation": "equals", "group": None, "options": None, "must_be": None,
                 "ablation": "one"}  # fmt: skip
        return {**about, **more}

    rows = [
        row("C7", "error_exponent", model, loss) for model in ("schnet", "painn") for loss in LOSSES
    ]
    rows += [row("C7", "error_exponent", "schnet", "raw", variant="n_steps=3000", estimate=0.9)]
    rows += [row("C2", "label_exponent", options=f"estimator={name}") for name in ("gamma", "line")]
    rows += [row("C2", "label_exponent", dataset="labels_tau", must_be="contradicted")]
    rows += [row("C10", "force_moment", group=z, options="moment=variance") for z in ("H", "C")]
    rows += [row("C8", "size_tradeoff", "schnet", "raw", relation="greater", estimate=9.0)]
    rows += [row("C8", "size_tradeoff", "schnet", "per_atom", relation="less", verdict="supported")]
    rows += [
        row("C8", "size_tradeoff", "schnet", loss, ablation="capacity", variant=variant)
        for loss in ("raw", "per_atom")
        for variant in ("base", "n_features=8")
    ]
    return pd.DataFrame(rows, columns=CLAIM)


def _correlation() -> dict[str, pd.DataFrame]:
    about = pd.DataFrame(
        [("si_sw", None, "labels", None), ("si_sw", "schnet", "raw", 1.0)],
        columns=["dataset", "model", "series", "force_weight"],
    )
    shells = pd.DataFrame(
        [("correlation", 0.0, 3.0), ("correlation", 3.0, np.inf), ("summed", None, None)],
        columns=["quantity", "low", "high"],
    ).assign(value=0.5, ci_low=0.2, ci_high=1.4)
    which = pd.DataFrame({"which": ["measured", "independent", "short_range", "shared"]})
    exponents = which.assign(exponent=(0.9, 0.5, 0.7, 0.9), ci_low=0.4, ci_high=1.0)
    phases = pd.DataFrame({"phase": ["liquid", "beta_tin"]})
    return {
        "correlation.csv": about.merge(phases, how="cross").merge(shells, how="cross"),
        "predicted_exponents.csv": about.merge(exponents, how="cross"),
    }


def _best_exponents() -> pd.DataFrame:
    numbers = pd.DataFrame({name: [0.5, 0.9] for name in summary.TABLE})
    low, high = ([c for c in summary.TABLE if c.endswith(end)] for end in ("_low", "_high"))
    numbers[low], numbers[high] = numbers[low] - 0.2, numbers[high] + 0.2
    return numbers.assign(dataset=["xtb_varied", "labels_tau"])


def _efficiency() -> pd.DataFrame:
    p = np.linspace(-1, 3.5, 19)
    curve = pd.DataFrame({"loss": None, "exponent": p, "data_multiplier": 1 + (p - 2) ** 2})
    curve = curve.assign(simulated_multiplier=curve.data_multiplier, simulated_se=0.1)
    return curve.assign(dataset="labels_tau", best_exponent=2.0, variance_exponent=1.0)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Tables with the columns of the workflow's own, small."""
    labels, runs = _labels(("xtb_varied", "labels_tau")), _runs()
    tested = labels[(labels.split == "test") & (labels.dataset == "xtb_varied")]
    kept = tested[["structure", "n_atoms", "size_group"]]
    groups = pd.DataFrame({"axis": "size_group", "group": SIZES, "mean_n_atoms": (3.0, 12.0, 40.0)})
    energies = tuple(f"energy_rmse_mev_per_{unit}" for unit in ("atom", "root_atom"))
    sizes = zip(SIZES, (3.0, 12.0, 40.0), strict=True)
    grid = itertools.product((5, 10), ("energy_term", "energy_gradient"), sizes)
    signal = pd.DataFrame([(step, what, *size) for step, what, size in grid],
                          columns=["step", "quantity", "group", "mean_n_atoms"])  # fmt: skip
    signal = signal.assign(axis="size_group")
    species = pd.DataFrame({"species": ["C", "H"]})
    scale = species.assign(dataset="xtb_varied", force_scale_ev_per_angstrom=(1.0, 0.5))
    edges = np.linspace(-6, 6, 61)
    bars = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": range(60)})
    one = pd.DataFrame({"n_structures": [1]})
    small = runs[runs.model == "schnet"].assign(variant="n_features=8")
    curves = ("seconds", "energy_rmse_ev_per_atom", "force_rmse_ev_per_angstrom")
    everything = (*energies, "force_rmse_mev_per_angstrom", "validation_score")
    several = [("xtb_varied", 1.0), ("xtb_small", 3.0), ("si_sw", 0.2)]
    weights = pd.DataFrame(several, columns=["dataset", "user_weight"])
    weights = weights.merge(pd.DataFrame({"energy_loss": LOSSES}), how="cross")
    carried = weights.rename(columns={"dataset": "used_on"}).merge(
        pd.DataFrame({"taken_from": ["all", *(name for name, _ in several)]}), how="cross"
    )
    kind = {"model": "schnet", "force_loss": "raw"}
    return {
        "weight_transfer.csv": weights.assign(**kind, at_edge=weights.dataset == "si_sw"),
        "regret.csv": carried.assign(**kind, regret=0.1, excess=0.2, at_edge=False),
        "labels.csv.gz": labels,
        "claims.csv": _claims(),
        "statistics.csv": scale,
        "force_histogram.csv": scale[["dataset", "species"]].merge(bars, how="cross"),
        "runs.csv": pd.concat(
            [
                _measured(runs, one.assign(n_features=32), everything),
                _measured(small, one.assign(n_features=8), everything),
            ]
        ),
        "history.csv": _measured(runs, pd.DataFrame({"step": [0, 5, 10]}), curves),
        "group_errors.csv": _measured(runs, groups, energies),
        "species_errors.csv": _measured(runs, species, ("force_rmse_ev_per_angstrom",)),
        "signal.csv": _measured(runs, signal, ("share_over_expected",)),
        "errors.csv.gz": _measured(runs, kept, ("energy_error",)),
        **_correlation(),
        "best_exponent.csv": _best_exponents(),
        "efficiency.csv": _efficiency(),
    }


def _draw(name: str, tables: dict[str, pd.DataFrame], folder: Path) -> dict[str, str]:
    paths = []
    for source in drawing.load(name).SOURCES:
        write_table(folder / source, tables[source])
        paths.append(str(folder / source))
    outputs = {kind: str(folder / f"{name}.{kind}") for kind in ("csv", "svg", "png")}
    drawing.draw_figure(name, paths, outputs)
    return outputs


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_from_its_csv_alone_and_byte_for_byte_again(
    name: str, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    outputs = _draw(name, tables, tmp_path)
    assert len(read_table(outputs["csv"])) > 0
    assert Path(outputs["png"]).read_bytes().startswith(b"\x89PNG")
    again = {"svg": str(tmp_path / "again.svg"), "png": str(tmp_path / "again.png")}
    with drawing.styled():
        drawing.save(drawing.load(name).draw(read_table(outputs["csv"])), again)
    for kind, path in again.items():
        assert Path(path).read_bytes() == Path(outputs[kind]).read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_tables_without_rows_give_a_figure_that_says_so(
    name: str, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    outputs = _draw(name, {key: table.iloc[:0] for key, table in tables.items()}, tmp_path)
    assert read_table(outputs["csv"]).empty
    assert Path(outputs["svg"]).stat().st_size > 0


@pytest.mark.parametrize("name", FIGURES)
def test_one_loss_alone_is_enough(
    name: str, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    few = {
        key: table[table.energy_loss == "raw"] if "energy_loss" in table else table
        for key, table in tables.items()
    }
    _draw(name, few, tmp_path)


def test_losses_have_distinct_colours_and_a_new_loss_one_of_its_own() -> None:
    shades = [drawing.colour(loss) for loss in (*LOSSES, "a_loss_of_mine")]
    assert len(set(shades)) == len(shades)
    assert shades == [drawing.colour(loss) for loss in (*LOSSES, "a_loss_of_mine")]


@pytest.mark.parametrize("name", ["error_exponent", "fronts"])
def test_a_loss_keeps_its_colour_in_every_figure(
    name: str, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    svg = Path(_draw(name, tables, tmp_path)["svg"]).read_text(encoding="utf-8").lower()
    assert all(drawing.colour(loss).lower() in svg for loss in LOSSES)


def test_the_best_weight_is_chosen_on_validation_data(tables: dict[str, pd.DataFrame]) -> None:
    runs = tables["runs.csv"]
    runs = runs.assign(validation_score=np.where(runs.force_weight == 0.1, -1.0, 1.0))
    drawn = drawing.load("error_exponent").table({**tables, "runs.csv": runs})
    assert set(drawn[drawn.model == "schnet"].force_weight) == {0.1}


def test_the_ratio_to_the_reference_is_taken_seed_by_seed(tables: dict[str, pd.DataFrame]) -> None:
    drawn = drawing.load("group_balance").table(tables)
    ratio = drawn[drawn.quantity == "ratio to standardized"]
    assert (ratio[ratio.energy_loss == "standardized"].value == 1).all()


def test_a_control_is_not_among_the_verdicts(tables: dict[str, pd.DataFrame]) -> None:
    drawn = drawing.load("verdicts").table(tables)
    assert "labels_tau" not in set(drawn.dataset)
    assert drawn.distance.max() == pytest.approx(85.0)


def test_unknown_figures_and_lacking_columns_are_named(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    with pytest.raises(PeslossError, match=r"figure is 'frnots'; allowed: .*fronts"):
        drawing.load("frnots")
    with pytest.raises(PeslossError, match=r"figure fronts: column is .*force_weight"):
        _draw("fronts", {"runs.csv": tables["runs.csv"].drop(columns="force_weight")}, tmp_path)
    assert not (tmp_path / "fronts.svg").exists()


def test_labels_at_line_ends_keep_apart() -> None:
    figure, axes = drawing.panels(1, "title")
    drawing.end_labels(axes[0], [(0.5, "a", "k"), (0.5, "b", "k"), (float("nan"), "c", "k")])
    heights = [text.get_position()[1] for text in axes[0].texts]
    assert len(heights) == 2
    assert abs(heights[0] - heights[1]) == pytest.approx(0.085)
    assert figure.axes == axes
