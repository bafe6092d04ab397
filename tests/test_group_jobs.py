"""A group as a job of the workflow: one of its runs fails, its loss is mended, it grows."""

import json
from pathlib import Path

import yaml
from conftest import Tiny
from projects import copy_project, snakemake

WILD = '''"""A loss that is no number for large structures."""

from torch import Tensor

from pesloss.losses.base import PowerLoss

TITLE = "wild"
PLACE = 99


class Loss(PowerLoss):
    """``s_k = NaN`` from six atoms on."""

    exponent = 0

    def scale(self, composition: Tensor) -> Tensor:
        """Return ``s_k``, shape (S,)."""
        scale = super().scale(composition)
        return scale.where(composition.sum(1) < 6, float("nan"))
'''
ABLATION = {
    "question": "Does one run that fails take others with it?",
    "datasets": ["mine"],
    "runs": {"energy_losses": ["raw", "wild"]},
    "claims": [{"claim": "C7", "statistic": "error_exponent", "expected": 0.5, "margin": 0.1}],
}
RECEIPT = Path("results-smoke/groups/mine/schnet/base/seed-0/0/group.json")
RUNS = Path("results-smoke/runs/mine/schnet/base")


def write(folder: Path, losses: list[str]) -> None:
    content = {**ABLATION, "runs": {"energy_losses": losses}}
    (folder / "config/ablations/wild.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def test_a_run_that_fails_fails_alone_and_joins_the_others_when_it_is_mended(
    tmp_path: Path, tiny: Tiny
) -> None:
    folder = copy_project(tmp_path / "project", tiny.structures)
    for path in (folder / "config/ablations").glob("*.yaml"):
        path.unlink()
    write(folder, ["raw", "wild"])
    loss = folder / "src/pesloss/losses/energy/wild.py"
    loss.write_text(WILD, encoding="utf-8")

    def record(name: str) -> Path:
        return folder / RUNS / f"{name}-raw-mse/weight-3/seed-0/record.json"

    done = snakemake(folder, str(RECEIPT), "--cores", "1")
    assert done.returncode == 1
    run = "mine/schnet/base/wild-raw-mse/weight-3/seed-0"
    said = (
        f"failed: train dataset=mine model=schnet variant=base seed=0 batch=0: {run}: energy loss"
    )
    assert said in done.stderr
    assert not (folder / RECEIPT).exists()
    assert not record("wild").exists()
    assert record("raw").with_name("evaluation.json").exists()
    before = record("raw").stat().st_mtime_ns

    loss.write_text(WILD.replace('float("nan")', "1.0"), encoding="utf-8")
    assert snakemake(folder, str(RECEIPT), "--cores", "1").returncode == 0
    assert record("wild").exists()
    write(folder, ["raw", "wild", "sqrt_n"])
    assert snakemake(folder, str(RECEIPT), "--cores", "1").returncode == 0
    runs = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))["runs"]
    assert {name.split("/")[3].split("-")[0] for name in runs} == {"raw", "wild", "sqrt_n"}
    assert record("raw").stat().st_mtime_ns == before
