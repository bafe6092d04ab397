"""A tiny real dataset, and runs on it that take a second."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import HealthCheck, settings

from pesloss.data.graphs import Graphs, build_graphs
from pesloss.data.store import structure_table
from pesloss.evaluation.errors import evaluate_run
from pesloss.evaluation.results import RunResult
from pesloss.job.errors import PeslossError
from pesloss.job.files import write_table
from pesloss.report.wording import called
from pesloss.spec.config_files import read_names
from pesloss.spec.manifest import EVALUATED, EVALUATION, RECORD, TRAINED, write_manifest
from pesloss.spec.names import Names
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.statistics.dataset import DatasetStatistics, size_edges
from pesloss.training import learners
from pesloss.training.inputs import Inputs, splits_of
from pesloss.training.job import RunFiles, prepare, train_run
from pesloss.training.loop import Training

SPECIES = ("Al", "Cu")
MODEL = ModelSpec(representation="schnet", n_features=8, n_interactions=1, n_radial=6, cutoff=4.0)
SPEC = TrainingSpec(
    n_steps=12, batch_size=4, n_validations=3, n_validation_structures=6, n_signal_structures=4
)
RUN = Run("tiny", "schnet", "standardized", "standardized")


# No law depends on how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


FIRST = ("test_workflow", "test_kill", "test_slurm", "test_codes_losses", "test_statistics_energy")
"""Files that take minutes: begun first, so that no process waits for them in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; the order within a file stays."""
    items.sort(key=lambda item: item.path.stem not in FIRST)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Some laws are tried on a few examples by default and on many in the night."""
    parser.addoption("--nightly", action="store_true", help="try the long laws at full size")


@pytest.fixture(scope="session")
def nightly(pytestconfig: pytest.Config) -> bool:
    """Whether a test is to try its full number of examples."""
    return bool(pytestconfig.getoption("--nightly"))


@pytest.fixture(autouse=True)
def numbers_as_usual() -> Iterator[None]:
    """A training lets tiny numbers be zero in its process; other tests are not to see that."""
    yield
    torch.set_flush_denormal(False)


def rattled(name: str, rng: np.random.Generator, n: int, periodic: bool) -> Atoms:
    """A piece of an alloy with EMT's energy and forces."""
    atoms = bulk("Cu", "fcc", a=3.8, cubic=True)
    atoms = atoms if periodic else atoms.repeat((2, 2, 1))[:n]
    atoms.pbc = periodic
    atoms.symbols = list(rng.choice(SPECIES, len(atoms)))
    atoms.rattle(0.12, rng=rng)
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    atoms.info = {"structure": name, "group": name, "phase": "crystal" if periodic else "cluster"}
    return atoms


def statistics_of(table: pd.DataFrame, forces: dict[str, float]) -> DatasetStatistics:
    """Means by least squares, spreads by decree."""
    counts = table[[f"n_{s}" for s in SPECIES]].to_numpy(float)
    mean = np.linalg.lstsq(counts, table.energy.to_numpy(), rcond=None)[0]
    fraction = counts / counts.sum(axis=1, keepdims=True)
    return DatasetStatistics(
        dataset="tiny",
        species=SPECIES,
        mean=tuple(map(float, mean)),
        mean_se=(0.1, None),
        std=(0.3, 0.6),
        std_se=(0.01, 0.02),
        local_energy_scale=(0.3, 0.6),
        floored=(),
        unidentified=(),
        shared={"kappa": 0.2, "tau": 0.05, "std": [0.25, 0.5]},
        force_scale=tuple(forces[s] for s in SPECIES),
        force_scale_se=(0.01, 0.01),
        size_edges=size_edges(table.n_atoms.to_numpy()),
        fraction_mean=tuple(map(float, fraction.mean(axis=0))),
        fraction_std=tuple(map(float, fraction.std(axis=0))),
        composition_groups=SPECIES,
        n_structures=len(table),
        n_families=len(table),
    )


def failure(call: Callable[[], object]) -> str:
    """Return what a call is refused with, in one line."""
    with pytest.raises(PeslossError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text
    return text


@dataclass(frozen=True)
class Tiny:
    """Forty alloys of 2 to 9 atoms, their split and statistics."""

    structures: list[Atoms]
    table: pd.DataFrame
    splits: pd.DataFrame
    statistics: DatasetStatistics
    graphs: Graphs
    model: ModelSpec = MODEL
    spec: TrainingSpec = SPEC

    def write(self, folder: Path) -> Inputs:
        """Write what earlier stages would have left."""
        inputs = Inputs(folder / "graphs.npz", folder / "splits.csv", folder / "statistics.json")
        self.graphs.write(inputs.graphs)
        write_table(inputs.splits, self.splits)
        self.statistics.write(inputs.statistics)
        return inputs

    def times(self, factor: float) -> "Tiny":
        """The same data with energies and forces in another unit."""

        def scaled(values: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(factor * value for value in values)

        old = self.statistics
        return replace(
            self,
            statistics=replace(
                old,
                mean=scaled(old.mean),
                local_energy_scale=scaled(old.local_energy_scale),
                force_scale=scaled(old.force_scale),
                shared={
                    "kappa": factor * old.shared["kappa"],
                    "tau": factor * old.shared["tau"],
                    "std": list(scaled(tuple(old.shared["std"]))),
                },
            ),
            graphs=replace(
                self.graphs, energy=factor * self.graphs.energy, forces=factor * self.graphs.forces
            ),
        )


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    rng = np.random.default_rng(7)
    structures = [rattled(f"s{i:02}", rng, 2 + i % 8, i % 5 == 4) for i in range(40)]
    table = structure_table(structures)
    split = np.resize(["train", "train", "validation", "train", "test"], 40)
    splits = pd.DataFrame({"structure": table.structure, "split": split})
    numbers = np.concatenate([atoms.symbols for atoms in structures])
    forces = np.concatenate([atoms.get_forces() for atoms in structures])
    scale = {s: float(np.sqrt(np.mean(forces[numbers == s] ** 2))) for s in SPECIES}
    statistics = statistics_of(table[split == "train"], scale)
    return Tiny(structures, table, splits, statistics, build_graphs(structures, MODEL.cutoff))


@pytest.fixture(params=["in C", "in torch"])
def step_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Steps of SchNet in C, and as where there is no compiler."""
    if request.param == "in torch":
        in_torch(monkeypatch)
    elif shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    return str(request.param)


def in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in torch what would be trained in C."""
    monkeypatch.setattr(learners, "hindrance", lambda model, device: "")


@pytest.fixture
def make_training(tiny: Tiny, tmp_path: Path) -> Callable[..., Training]:
    """A training of the tiny dataset, ready to run."""

    def make(run: Run | None = None, data: Tiny = tiny, **changes: object) -> Training:
        inputs = data.write(tmp_path)
        spec = TrainingSpec.model_validate({**data.spec.model_dump(), **changes})
        split = splits_of(data.graphs, inputs.splits)
        chosen = run or RUN
        return prepare(chosen, data.graphs, split, data.statistics, data.model, spec)

    return make


def files_in(folder: Path) -> RunFiles:
    """The files of a run in one folder."""
    return RunFiles(
        folder / "record.json",
        folder / "weights.pt",
        folder / "history.csv",
        folder / "loss_signal.csv.gz",
        folder / "gradient_signal.csv",
        folder / "predictions.npz",
    )


RunTiny = Callable[..., RunFiles]


def evaluate(files: RunFiles, graphs: Path, labels: Path) -> None:
    """Judge a run of the tiny dataset."""
    evaluate_run(files.record.parent, graphs, labels)


def write_record(folder: Path, record: Mapping[str, Any], structures: pd.DataFrame) -> None:
    """Write a run that was trained and judged elsewhere: its record and errors, as they lie."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.pt").write_bytes(b"")
    write_table(folder / "structures.csv.gz", structures)
    _write_manifests(folder, record)


def _write_manifests(folder: Path, record: Mapping[str, Any]) -> None:
    trained, judged = (
        [folder / name for name in names if (folder / name).exists()]
        for names in (TRAINED, EVALUATED)
    )
    write_manifest(folder / RECORD, record, trained)
    write_manifest(folder / EVALUATION, {"run": record["run"]}, judged, trained[:1])


def add_table(result: RunResult, name: str, table: pd.DataFrame) -> None:
    """Write a further table of a run that `write_record` wrote."""
    write_table(result.folder / name, table)
    _write_manifests(result.folder, result.record)
    for read in ("files", name.split(".")[0]):
        vars(result).pop(read, None)


@pytest.fixture
def run_tiny(tiny: Tiny, tmp_path: Path) -> RunTiny:
    """Train the tiny dataset from files to files, in the run's folder below one of one's choice."""

    def train(
        name: str,
        run: Run = RUN,
        data: Tiny = tiny,
        **options: object,
    ) -> RunFiles:
        folder = tmp_path / name / run.folder
        inputs, files = data.write(folder), files_in(folder)
        checkpoint = folder / "unfinished.pt"
        train_run(run, inputs, data.model, data.spec, files, checkpoint, **options)  # type: ignore[arg-type]
        return files

    return train


@pytest.fixture(scope="session")
def names() -> Names:
    """What datasets, models and claims are called in config/."""
    return read_names(Path(__file__).parents[1] / "config")


@pytest.fixture
def titled(names: Names) -> Iterator[None]:
    """A test in which they are called so."""
    with called(names):
        yield
