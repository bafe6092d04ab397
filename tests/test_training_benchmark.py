"""The benchmark of trainings runs; what it finds is for a machine at rest to say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Tiny

from pesloss.benchmarks.training import benchmark, write
from pesloss.job.files import read_table


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
    write(pd.concat(parts, ignore_index=True), tmp_path)
    table = read_table(tmp_path / "training.csv")
    assert list(table.trainer) == ["schnetpack", "schnetpack_loaded", "eager", "pesloss"] * 2
    assert (table.runs == 2).all()
    assert ((table["min"] <= table.atoms_per_s) & (table.atoms_per_s <= table["max"])).all()
    base = table.groupby("model").atoms_per_s.transform("first")
    assert np.allclose(table.ratio, table.atoms_per_s / base)
    assert (table.floor_atoms_per_s > 0).all()
    for kind in ("svg", "png"):
        assert (tmp_path / f"training.{kind}").stat().st_size > 5000
