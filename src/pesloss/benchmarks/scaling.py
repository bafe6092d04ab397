"""What a training costs as batches, neighbour lists, data sets and runs grow, for anyone to rerun.

`python -m pesloss.benchmarks.scaling FOLDER` writes ``scaling.csv``, ``.svg`` and ``.png``,
``scaling_workflow.csv`` and ``scaling_generation.csv``.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.data.families import Family
from pesloss.data.generate import generate_part
from pesloss.data.graphs import Graphs, build_graphs
from pesloss.data.spec import DatasetSpec, load_dataset_spec
from pesloss.data.store import structure_table
from pesloss.job import provenance
from pesloss.job.errors import PeslossError
from pesloss.job.files import write_table
from pesloss.model.batches import Batcher
from pesloss.report import drawing, wording
from pesloss.spec.config_files import read_names
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.spec.yaml_models import load
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.statistics.fit import fit_statistics
from pesloss.training.job import prepare
from pesloss.training.loop import Training, deterministic, learners_of, learning_rate

P = ParamSpec("P")
T = TypeVar("T")

TITLE = "What does a training cost as it grows? One thread, seconds of the processor"
COLOURS = {"schnet": "#0072B2", "painn": "#D55E00"}
SYMBOLS = ("H", "C", "N", "O")
MEANS = (-13.6, -1029.2, -1485.3, -2041.8)  # eV
SHAPES = ((2, 2, 3), (2, 3, 3), (2, 2, 5), (2, 3, 4), (3, 3, 3))  # 12 to 27 atoms, 20 on average
SPACING = 20 ** (1 / 3)  # Å, for 0.05 atoms per Å³
JITTER = 0.3  # of the spacing: atoms are at least 0.4 of it apart
N_FOR_STATISTICS = 200
N_WARM = 5  # first steps, which are not timed
QUANTITIES = {
    "structures in a batch": "batch_size",
    "cutoff": "cutoff",
    "structures": "n_structures",
    "runs": "n_runs",
}
SCALING_COLUMNS = [
    "quantity", "value", "model", "n_structures", "cutoff", "batch_size", "n_runs", "n_steps",
    "n_atoms", "n_pairs", "step_s", "step_min_s", "step_max_s", "atoms_per_s", "build_s",
    "write_s", "read_s", "batcher_s", "prepare_s", "process_s", "build_peak_mib", "start_mib",
    "peak_mib", "graphs_bytes_per_pair", "batcher_bytes_per_pair", "file_bytes_per_pair",
    "peak_bytes_per_pair",
]  # fmt: skip
SNAKEFILE = """rule all:
    input: expand("done/{{i}}", i=range({n_jobs}))
rule nothing:
    output: touch("done/{{i}}")
    script: "nothing.py"
"""
SNAKEMAKE = """import json, resource, sys
from snakemake.cli import main
try:
    main(sys.argv[2:])
finally:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    with open(sys.argv[1], "w") as handle:
        json.dump([u.ru_utime + u.ru_stime for u in used], handle)
"""


@dataclass(frozen=True)
class Case:
    """Trainings that one process carries out one after the other."""

    quantity: str
    value: float
    model: str
    n_structures: int
    cutoff: float
    batch_size: int
    n_runs: int
    n_steps: int


@dataclass(frozen=True)
class Design:
    """The values each quantity takes while the others stay at the first four."""

    n_structures: int = 1000
    cutoff: float = 4.0
    batch_size: int = 10
    n_steps: int = 40
    batches: tuple[int, ...] = (5, 10, 40, 160)
    cutoffs: tuple[float, ...] = (3.0, 4.0, 5.5, 8.0)
    datasets: tuple[int, ...] = (1_000, 10_000, 100_000)
    runs: tuple[int, ...] = (1, 3, 9)

    def cases(self, models: Iterable[str]) -> list[Case]:
        """Return every training to be measured, one quantity after the other."""
        values = (self.batches, self.cutoffs, self.datasets, self.runs)
        return [
            self._case(quantity, value, model)
            for quantity, chosen in zip(QUANTITIES, values, strict=True)
            for model, value in product(models, chosen)
        ]

    def _case(self, quantity: str, value: float, model: str) -> Case:
        sizes: dict[str, Any] = {
            "n_structures": self.n_structures,
            "cutoff": self.cutoff,
            "batch_size": self.batch_size,
            "n_runs": 1,
            "n_steps": self.n_steps,
        }
        return Case(quantity, value, model, **{**sizes, QUANTITIES[quantity]: value})


def packings(n: int, rng: np.random.Generator) -> Iterator[Atoms]:
    """Make random packings of 12 to 27 atoms, every second one periodic.

    Atoms sit on a cubic lattice of 0.05 atoms per Å³, each moved by up to 0.3 spacings along every
    axis. Energies (eV) and forces (eV/Å) are drawn; a step costs the same whatever they are.
    """
    for index in range(n):
        shape = SHAPES[int(rng.integers(len(SHAPES)))]
        lattice = np.indices(shape).reshape(3, -1).T
        sites = lattice + rng.uniform(-JITTER, JITTER, lattice.shape)
        kinds = rng.integers(len(SYMBOLS), size=len(sites))
        atoms = Atoms([SYMBOLS[kind] for kind in kinds], SPACING * sites)
        if index % 2:
            atoms.set_cell(SPACING * np.array(shape))
            atoms.pbc = True
        spread = rng.standard_normal(len(sites)).sum()
        energy = float(np.take(MEANS, kinds).sum() + spread)
        forces = rng.standard_normal((len(sites), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info = {"structure": f"packing_{index:06d}", "group": str(index), "phase": "packing"}
        yield atoms


def scaling(models: dict[str, ModelSpec], design: Design | None = None) -> pd.DataFrame:
    """Measure trainings of growing size, each in a process of its own.

    As in the workflow, one process computes neighbour lists and writes the graph file, another
    reads it and trains; the losses are mean squares.

    Parameters
    ----------
    models
        By name; the cutoff is the design's.
    design
        What grows, and how far.

    Returns
    -------
    DataFrame
        ``SCALING_COLUMNS``, a row a case; a case that two quantities share is measured once.
        ``n_atoms`` and ``n_pairs`` (in both directions) are means over batches. Seconds are the
        processor's: of a step (median, smallest, largest), of neighbour lists, of writing and
        reading the graph file, of the `Batcher` alone, of one run's preparation with it, and of
        the whole process, imports included. ``build_peak_mib`` is the largest memory of the
        process that computes neighbour lists; ``start_mib`` and ``peak_mib`` are the memory of the
        training process after imports and at its largest. Bytes per pair are over all pairs of the
        data set in both directions and include the atoms' share.
    """
    design = design or Design()
    with tempfile.TemporaryDirectory() as scratch:
        rows = _rows(design.cases(models), models, Path(scratch))
    return pd.DataFrame(rows, columns=SCALING_COLUMNS)


def _rows(
    cases: Sequence[Case], models: dict[str, ModelSpec], scratch: Path
) -> list[dict[str, Any]]:
    """Measure the cases in their order; the graph files of each data set are made once."""
    built: dict[tuple[int, float], dict[str, float]] = {}
    trained: dict[tuple[Any, ...], dict[str, float]] = {}
    rows = []
    for case in cases:
        data, same = (case.n_structures, case.cutoff), astuple(case)[2:]
        place = scratch / f"{case.n_structures}-{case.cutoff:g}"
        if data not in built:
            built[data] = apart(build, place, *data)
        if same not in trained:
            spec = models[case.model].model_copy(update={"cutoff": case.cutoff})
            trained[same] = apart(train, place, case, spec)
        rows.append({**vars(case), **built[data], **trained[same]})
    return rows


def apart(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a new process, whose memory and imports are its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *args, **kwargs).result()


def build(place: Path, n_structures: int, cutoff: float) -> dict[str, float]:
    """Write the graphs of packings and their statistics into a folder, and measure it."""
    structures = list(packings(n_structures, np.random.default_rng(n_structures)))
    graphs, build_s = _timed(build_graphs, structures, cutoff)
    path = place / "graphs.npz"
    _, write_s = _timed(graphs.write, path)
    peak = largest_memory_mib()
    _statistics().write(place / "statistics.json")
    return {
        "build_s": build_s,
        "write_s": write_s,
        "build_peak_mib": peak,
        "file_bytes_per_pair": path.stat().st_size / len(graphs.centre),
    }


def _statistics() -> DatasetStatistics:
    structures = list(packings(N_FOR_STATISTICS, np.random.default_rng(0)))
    table = structure_table(structures)
    splits = pd.DataFrame({"structure": table.structure, "split": "train"})
    return fit_statistics("packings", table, splits, structures)


def train(place: Path, case: Case, model: ModelSpec) -> dict[str, float]:
    """Train as a job does, diagnostics left out, and measure it."""
    deterministic()
    statistics = DatasetStatistics.read(place / "statistics.json")
    start = provenance.current_memory_mib()
    graphs, read_s = _timed(Graphs.read, place / "graphs.npz")
    batcher, batcher_s = _timed(Batcher, graphs)
    batcher_bytes = _bytes(batcher)
    del batcher
    everything = np.arange(case.n_structures)
    split = dict.fromkeys(("train", "validation"), everything)
    n_steps = N_WARM + case.n_steps
    spec = TrainingSpec(n_steps=n_steps, batch_size=case.batch_size, learning_rate=1e-4)
    seconds, prepare_s, n_atoms, n_pairs = [], [], [], []
    for seed in range(case.n_runs):
        run = Run("packings", model.representation, "raw", "raw", seed=seed)
        training, spent = _timed(prepare, run, graphs, split, statistics, model, spec)
        prepare_s.append(spent)
        seconds.extend(_step_seconds(training))
        order = training.order()[N_WARM:]
        n_atoms.append(graphs.n_atoms[order].sum(axis=1).mean())
        n_pairs.append(graphs.n_pairs[order].sum(axis=1).mean())
    peak, n_all = largest_memory_mib(), len(graphs.centre)
    return {
        "n_atoms": float(np.mean(n_atoms)),
        "n_pairs": float(np.mean(n_pairs)),
        "step_s": float(np.median(seconds)),
        "step_min_s": min(seconds),
        "step_max_s": max(seconds),
        "atoms_per_s": float(np.mean(n_atoms) / np.median(seconds)),
        "read_s": read_s,
        "batcher_s": batcher_s,
        "prepare_s": float(np.median(prepare_s)),
        "process_s": time.process_time(),
        "start_mib": start,
        "peak_mib": peak,
        "graphs_bytes_per_pair": _bytes(graphs) / n_all,
        "batcher_bytes_per_pair": batcher_bytes / n_all,
        "peak_bytes_per_pair": (peak - start) * 2**20 / n_all,
    }


def _step_seconds(training: Training) -> list[float]:
    """Return the seconds of every step after the first ones, its batch included."""
    learning, seconds = learners_of([training]), []
    for step, chosen in enumerate(training.order()):
        started = time.process_time()
        learning.step([0], chosen, learning_rate(step, training.spec))
        seconds.append(time.process_time() - started)
    return seconds[N_WARM:]


def _timed(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, float]:
    """Return what a call returns, and its seconds of the processor."""
    started = time.process_time()
    result = call(*args, **kwargs)
    return result, time.process_time() - started


def _bytes(holder: object) -> int:
    """Add up the arrays and tensors that an object holds."""
    return sum(int(getattr(value, "nbytes", 0)) for value in vars(holder).values())


def largest_memory_mib() -> float:
    """Return the largest resident memory of this process, without its parent's, MiB.

    On Linux a new process inherits the figure that `provenance.peak_memory_mib` reads.
    """
    path = Path("/proc/self/status")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) / 1024 if found else provenance.peak_memory_mib()


def workflow_overhead(numbers: Sequence[int] = (10, 50, 200)) -> pd.DataFrame:
    """Time Snakemake on jobs that run an empty script, one at a time.

    Returns
    -------
    DataFrame
        One row per number of jobs: seconds on the clock; seconds of the processor that the main
        process takes, its start included, in all, per job, and per job beyond those of the row
        before (NaN in the first row); and those of a job's own process per job.

    Raises
    ------
    PeslossError
        When Snakemake fails.
    """
    rows = []
    for n_jobs in numbers:
        wall, main_s, jobs_s = _run_workflow(n_jobs)
        rows.append({"n_jobs": n_jobs, "wall_s": wall, "main_s": main_s, "jobs_s": jobs_s})
    table = pd.DataFrame(rows)
    return pd.DataFrame(
        {
            **table[["n_jobs", "wall_s", "main_s"]],
            "main_s_per_job": table.main_s / table.n_jobs,
            "main_s_per_further_job": table.main_s.diff() / table.n_jobs.diff(),
            "job_process_s_per_job": table.jobs_s / table.n_jobs,
        }
    )


def _run_workflow(n_jobs: int) -> tuple[float, float, float]:
    """Return seconds on the clock, and of the processor in the main process and in the jobs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Snakefile").write_text(SNAKEFILE.format(n_jobs=n_jobs), encoding="utf-8")
        (folder / "nothing.py").write_text("", encoding="utf-8")
        words = ("used.json", "--cores", "1", "--quiet", "all")
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", SNAKEMAKE, *words],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        wall = time.perf_counter() - started
        if done.returncode != 0 or len(list(folder.glob("done/*"))) != n_jobs:
            reason = " ".join(done.stderr.split())[-300:]
            raise PeslossError(f"workflow of {n_jobs} empty jobs: snakemake failed ({reason})")
        main_s, jobs_s = json.loads((folder / "used.json").read_text(encoding="utf-8"))
    return wall, main_s, jobs_s


def generation(spec: DatasetSpec, n_structures: int = 40) -> pd.DataFrame:
    """Time the generation of a dataset's structures, labels included.

    Returns
    -------
    DataFrame
        One row per phase and one for all: structures, mean number of atoms, seconds of the
        processor, structures and atoms per second of one core. Failures count as structures and
        are in ``n_failures``.
    """
    spec = spec.model_copy(update={"n_structures": n_structures})
    rows = []

    def watched(families: Iterable[Family], total: int, label: str) -> Iterator[Family]:
        for family in families:
            started = time.process_time()
            yield family
            spent = time.process_time() - started
            rows.append((family.id, family.phase, family.n_structures, spent))

    structures, failures = generate_part(spec, "", progress=watched)
    table = pd.DataFrame(rows, columns=["group", "phase", "n_structures", "seconds"])
    atoms, failed = Counter[str](), Counter[str]()
    for structure in structures:
        atoms[str(structure.info["group"])] += len(structure)
    for failure in failures:
        failed[failure.structure.rpartition("-")[0]] += 1
    table["n_atoms"] = [atoms[name] for name in table.group]
    table["n_failures"] = [failed[name] for name in table.group]
    names = ["n_structures", "n_failures", "n_atoms", "seconds"]
    twice = pd.concat([table, table.assign(phase="all")])
    sums = twice.groupby("phase", sort=False)[names].sum().reset_index()
    labelled = sums.n_structures - sums.n_failures
    return pd.DataFrame(
        {
            "phase": sums.phase,
            "n_structures": sums.n_structures,
            "n_failures": sums.n_failures,
            "mean_n_atoms": sums.n_atoms / labelled,
            "seconds": sums.seconds,
            "structures_per_s": labelled / sums.seconds,
            "atoms_per_s": sums.n_atoms / sums.seconds,
        }
    )


def draw(table: pd.DataFrame) -> Figure:
    """Draw steps, what comes once, memory and whole processes against what grows."""
    figure, axes = drawing.panels(6, TITLE, columns=3, size=(3.3, 2.6))
    batch, cutoff, structures, runs = (
        table[table.quantity == name].assign(
            neighbours=table.n_pairs / table.n_atoms,
            run_s=table.process_s / table.n_runs,
            step_ms=1e3 * table.step_s,
            step_min_ms=1e3 * table.step_min_s,
            step_max_ms=1e3 * table.step_max_s,
        )
        for name in QUANTITIES
    )
    _steps(axes[0], batch, "n_atoms")
    _panel(axes[0], "A step against the batch", "atoms in a batch", "ms a step (line: all steps)")
    _steps(axes[1], cutoff, "neighbours")
    _panel(axes[1], "A step against neighbours", "neighbours of an atom", "ms a step")
    _steps(axes[2], structures, "value")
    _panel(axes[2], "A step against the data set", "structures in the data set", "ms a step")
    limits = [limit for one in axes[:3] for limit in one.get_ylim()]
    for one in axes[:3]:  # one scale, or noise would look like growth
        one.set_ylim(min(limits), max(limits))
        drawing.plain_ticks(one)
    once = {"neighbour lists": "build_s", "read the file": "read_s", "batcher": "batcher_s"}
    _lines(axes[3], structures, once)
    _panel(axes[3], "What comes once", "structures in the data set", "seconds")
    memory = {"neighbour lists": "build_peak_mib", "training": "peak_mib"}
    _lines(axes[4], structures, memory)
    drawing.guide(axes[4], float(structures.start_mib.median()), "imports alone")
    _panel(axes[4], "Largest memory", "structures in the data set", "MiB")
    for model, part in runs.groupby("model"):
        axes[5].plot(part.value, part.run_s, marker="o", color=COLOURS.get(str(model)))
    steps = f"seconds a run of {int(runs.n_steps.iloc[0]) + N_WARM} steps"
    _panel(axes[5], "Runs that share a process", "runs in a process", steps)
    return figure


def _steps(axes: Axes, part: pd.DataFrame, x: str) -> None:
    """Draw milliseconds of a step with lines from the smallest to the largest."""
    for model, one in part.groupby("model"):
        shade = COLOURS.get(str(model))
        low, high = one.step_min_ms, one.step_max_ms
        drawing.whiskered(axes, one[x], one.step_ms, low, high, color=shade)
    models = wording.models(part.model)
    names = [(wording.model(m), COLOURS.get(m, "#111111")) for m in reversed(models)]
    drawing.coloured_lines(axes, names)


def _lines(axes: Axes, structures: pd.DataFrame, columns: dict[str, str]) -> None:
    """Draw columns that hardly depend on the model, their medians over models."""
    medians = structures.groupby("value")[list(columns.values())].median()
    shades = drawing.shades(len(columns))
    for column, shade in zip(columns.values(), shades, strict=True):
        axes.plot(medians.index, medians[column], marker="o", color=shade)
    drawing.coloured_lines(axes, list(zip(columns, shades, strict=True)))


def _panel(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y, xscale="log", yscale="log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.35)  # room for names
    drawing.plain_ticks(axes, "xy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables and the figure into a folder."""
    folder = Path((sys.argv[1:] if arguments is None else arguments)[0])
    models = {name: load(ModelSpec, f"config/models/{name}.yaml") for name in ("schnet", "painn")}
    with wording.called(read_names(Path("config"))):
        write(scaling(models), folder)
    write_table(folder / "scaling_workflow.csv", workflow_overhead())
    spec = load_dataset_spec("config/datasets/xtb_varied.yaml")
    write_table(folder / "scaling_generation.csv", apart(generation, spec))
    return 0


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write the table of trainings and its figure."""
    write_table(folder / "scaling.csv", table)
    with drawing.styled():
        outputs = {kind: str(folder / f"scaling.{kind}") for kind in ("svg", "png")}
        drawing.save(draw(table), outputs)


if __name__ == "__main__":
    sys.exit(main())
