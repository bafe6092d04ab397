"""The data in one table, and the claims at a glance: kinds told apart, everything counted once."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pesloss.data.overview import COLUMNS, dataset_table
from pesloss.data.store import structure_table, write_structures
from pesloss.job.files import write_table
from pesloss.report.glance import claim_table, data_table
from pesloss.report.verdicts import MARKS

pytestmark = pytest.mark.usefixtures("titled")


def _structure(n_atoms: int, periodic: bool, symbol: str = "Cu") -> Atoms:
    atoms = Atoms(f"{symbol}{n_atoms}", np.arange(3.0 * n_atoms).reshape(-1, 3), cell=[9, 9, 9])
    atoms.pbc = [periodic, False, False]
    atoms.info.update(structure=f"{symbol}-{n_atoms}", group="0", phase="crystal")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((n_atoms, 3)))
    return atoms


def _write(folder: Path, structures: list[Atoms], n_left_out: int = 0) -> None:
    table = structure_table(structures)
    write_table(folder / "structures.csv", table.assign(n_Xe=0))  # a species that nobody has
    write_structures(folder / "structures.extxyz", structures, {})
    lost = [(str(i), "no energy") for i in range(n_left_out)]
    write_table(folder / "failures.csv", pd.DataFrame(lost, columns=["structure", "reason"]))


@pytest.mark.parametrize(
    ("repeats", "matter"),
    [((True, True, True), "bulk"), ((False, False, False), "molecules"),
     ((True, False, False), "mixed")],
)  # fmt: skip
def test_matter_is_read_from_the_structures(
    tmp_path: Path, repeats: tuple[bool, ...], matter: str
) -> None:
    _write(tmp_path / "a", [_structure(n, p) for n, p in zip((2, 3, 7), repeats, strict=True)], 4)
    (row,) = dataset_table({"a": "Mine."}, tmp_path).itertuples(index=False)
    assert row == ("a", matter, 3, 4, 2, 3.0, 7, "Cu", "Mine.")


def test_data_without_geometry_are_drawn(tmp_path: Path) -> None:
    table = pd.DataFrame({"structure": ["a", "b"], "n_atoms": [4, 6], "n_H": [4, 0], "n_C": [0, 6]})
    write_table(tmp_path / "labels" / "structures.csv", table)
    (row,) = dataset_table({"labels": "Drawn."}, tmp_path).itertuples(index=False)
    assert row == ("labels", "drawn", 2, 0, 4, 5.0, 6, "H C", "Drawn.")


def _claims() -> pd.DataFrame:
    rows = [
        ("C2", "xtb_varied", "label_exponent", "estimator=gamma", "supported", ""),
        ("C2", "si_sw", "label_exponent", "estimator=gamma", "contradicted", ""),
        ("C2", "si_sw", "label_exponent", "by=phase", "undecided", ""),
        ("C2", "labels_tau", "label_exponent", "estimator=gamma", "contradicted", "contradicted"),
        ("C7", "si_sw", "error_exponent", "", "contradicted", ""),
        ("C10", "si_sw", "force_moment", "", "undecided", ""),
        ("C11", "several", "best_weight_spread", "", "contradicted", ""),
        ("Q1", "si_sw", "predicted_exponent", "", "supported", ""),
    ]
    names = ["claim", "dataset", "statistic", "options", "verdict", "must_be"]
    return pd.DataFrame(rows, columns=names).replace("", np.nan)


def _datasets() -> pd.DataFrame:
    rows = [
        ("si_sw", "bulk", 40, 0, 2, 16.5, 216, "Si", "Silicon."),
        ("xtb_varied", "molecules", 50, 7, 3, 21.0, 120, "H C N O F Si S Cl Br", "Molecules."),
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_claims_are_counted_by_kind_of_matter_without_controls_and_questions() -> None:
    lines = claim_table(_claims(), _datasets()).replace("\u00a0", " ").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert table == [
        "| claim | molecules | bulk | several data sets |",
        "| --- | --- | --- | --- |",
        "| C2 label deviations grow as √N | 1 ✔ | 1 ✘, 1 ? |  |",
        "| C7 model errors grow as √N |  | 1 ✘ |  |",
        "| C10 F′ is unit normal for each species |  | 1 ? |  |",
        "| C11 the energy to force weight transfers |  |  | 1 ✘ |",
    ]
    assert (
        "- Label deviations grow as √N: true for 1 of 2 data sets, false for 1, "
        "not decided for 0." in lines
    )
    assert "- All 6 measurements of 4 claims: 1 supported, 3 contradicted, 2 undecided." in lines


def test_no_verdict_is_lost_whatever_the_order_of_rows() -> None:
    claims = _claims()
    shuffled = claims.sample(frac=1, random_state=1)
    assert claim_table(shuffled, _datasets()) == claim_table(claims, _datasets())
    text = claim_table(claims, _datasets().iloc[:0])  # no kind known: all in one column
    rows = [line for line in text.splitlines() if line.startswith("| C")]
    assert sum(int(n) for line in rows for n in re.findall(r"(\d+)\u00a0", line)) == 6
    assert all(mark in text for mark in list(MARKS.values())[:3])


def test_data_are_shown_in_one_row_each_and_many_species_by_their_number() -> None:
    lines = data_table(_datasets()).splitlines()
    assert lines[2:] == [
        "| xTB clusters, varied | 50 | 3 to 120 (21) | 9 species | 7 | Molecules. |",
        "| silicon, varied | 40 | 2 to 216 (16.5) | Si | 0 | Silicon. |",
    ]
