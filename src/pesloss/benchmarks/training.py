"""Atoms per second of a training here, by SchNetPack's own trainer and by a plain eager loop."""

import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from pesloss.data.generate import generate_part
from pesloss.data.graphs import build_graphs
from pesloss.data.spec import DatasetSpec
from pesloss.data.store import structure_table
from pesloss.job import provenance
from pesloss.job.files import write_table
from pesloss.model import pair_kernels
from pesloss.model.batches import Batch
from pesloss.model.potential import Potential, Prediction, build_model
from pesloss.model.schnetpack_import import import_schnetpack
from pesloss.report import drawing, wording
from pesloss.spec.config_files import read_names
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.spec.yaml_models import load
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.statistics.fit import fit_statistics
from pesloss.training.adam import Adam
from pesloss.training.checkpoint import Progress
from pesloss.training.job import prepare
from pesloss.training.loop import Training, deterministic
from pesloss.training.signal import LossSignal

TITLE = "How fast does a training run on one thread? The same model, data and batches"
PACKAGES = ("torch", "schnetpack", "pytorch-lightning", "numpy")
GOAL = 3.0  # times SchNetPack's trainer
TRAINERS = {
    "schnetpack": "SchNetPack's trainer",
    "schnetpack_loaded": "the same, loading free",
    "eager": "its forward pass, plain loop",
    "pesloss": "pesloss",
}
COLOURS = {
    "schnetpack": "#A8A8A8",
    "schnetpack_loaded": "#BFBFBF",
    "eager": "#D0D0D0",
    "pesloss": "#0072B2",
}
DATASETS = ("xtb_varied", "si_sw")
MODELS = ("schnet", "painn")
Epoch = Callable[[], tuple[int, float]]  # atoms passed and seconds


@dataclass(frozen=True)
class Peak:
    """What one thread of this machine does at best."""

    flop_per_second: float
    bytes_per_second: float


class Eager(Potential):
    """The same model by SchNetPack's own forward pass."""

    def forward(self, batch: Batch, differentiable: bool = True) -> Prediction:
        """Predict energies and forces."""
        return self.reference(batch)


class _Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [t for t in tree_leaves((args, result)) if isinstance(t, torch.Tensor)]
            self.n_bytes += sum(t.numel() * t.element_size() for t in tensors)
        return result


def benchmark(
    structures: Sequence[Atoms], dataset: str, model: ModelSpec, n_runs: int = 9, size: int = 10
) -> pd.DataFrame:
    """Train epochs of the three trainers in turn, on one thread.

    The model, the structures, the size of batches and the loss (mean squares of energies and of
    forces) are the same. Seconds are the processor's. SchNetPack's loader works in the same
    process; ``schnetpack_loaded`` leaves its time out, as though other processors had done it.

    Parameters
    ----------
    structures
        With ``info["structure"]``, energy and forces.
    dataset
        Their name.
    model
        The model.
    n_runs
        Epochs of each trainer that are timed, after one that is not.
    size
        Structures in a batch.

    Returns
    -------
    DataFrame
        One row per trainer: median, smallest and largest atoms per second, the ratio to
        SchNetPack's trainer, and the rate that the counted work of ``pesloss`` would allow.
    """
    training = _training(structures, dataset, model, size)
    plain = build_model(model, _statistics(structures, dataset), 0, Eager)
    eager = replace(training, model=plain)
    others = {"eager": _epoch_of(eager, fused=False), "pesloss": _epoch_of(training, fused=True)}
    with _one_thread(), tempfile.TemporaryDirectory() as folder, chdir(folder):
        rates = _alternating(structures, model, size, others, n_runs, Path(folder))
    floor = _floor(training, measured_peak())
    rows = [
        {
            "model": model.representation,
            "dataset": dataset,
            "threads": 1,
            "trainer": trainer,
            "atoms_per_s": float(np.median(found)),
            "ratio": float(np.median(found) / np.median(rates["schnetpack"])),
            "min": min(found),
            "max": max(found),
            "runs": len(found),
            "atoms_per_structure": float(np.mean([len(atoms) for atoms in structures])),
            **floor,
            "sums_over_pairs": pair_kernels.described(),
            "machine": _machine(),
            "versions": " ".join(f"{k} {v}" for k, v in provenance.versions(PACKAGES).items()),
        }
        for trainer, found in rates.items()
    ]
    return pd.DataFrame(rows)


def _statistics(structures: Sequence[Atoms], dataset: str) -> DatasetStatistics:
    table = structure_table(structures)
    splits = pd.DataFrame({"structure": table.structure, "split": "train"})
    return fit_statistics(dataset, table, splits, structures)


def _training(structures: Sequence[Atoms], dataset: str, model: ModelSpec, size: int) -> Training:
    everything = np.arange(len(structures))
    split = dict.fromkeys(("train", "validation"), everything)
    spec = TrainingSpec(n_steps=len(structures) // size, batch_size=size, learning_rate=1e-4)
    statistics = _statistics(structures, dataset)
    graphs = build_graphs(structures, model.cutoff)
    run = Run(dataset, model.representation, "raw", "raw")
    return prepare(run, graphs, split, statistics, model, spec)


def _epoch_of(training: Training, fused: bool) -> Epoch:
    """Return a function that trains one epoch as `Training.run` does, diagnostics left out."""
    optimizer = Adam(training.model.parameters(), fused=fused)
    signal = LossSignal(len(training.graphs.n_atoms))

    def epoch() -> tuple[int, float]:
        order, progress = training.order(), Progress()
        started = time.process_time()
        for step, chosen in enumerate(order):
            training.step(step, training.batcher(chosen), optimizer, progress, signal)
        seconds = time.process_time() - started
        return int(training.graphs.n_atoms[order].sum()), seconds

    return epoch


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread, and give back what was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _as_jobs_are() -> Iterator[None]:
    """Put torch into the state of a job here, and back into the one that it starts in."""
    deterministic()
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode("default")
        torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
        torch.set_flush_denormal(False)


def _alternating(
    structures: Sequence[Atoms],
    model: ModelSpec,
    size: int,
    others: dict[str, Epoch],
    n_runs: int,
    folder: Path,
) -> dict[str, list[float]]:
    """Return atoms per second of every epoch; after each of SchNetPack's one of each other."""
    import pytorch_lightning

    own = ("schnetpack", "schnetpack_loaded")
    rates: dict[str, list[float]] = {name: [] for name in (*own, *others)}
    names = import_schnetpack().properties

    class Clock(pytorch_lightning.Callback):
        atoms, started, batch_started, in_batches = 0, 0.0, 0.0, 0.0

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            self.atoms, self.in_batches, self.started = 0, 0.0, time.process_time()

        def on_train_batch_start(self, *arguments: Any) -> None:
            self.batch_started = time.process_time()

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any,
                               batch_idx: int) -> None:  # fmt: skip
            self.in_batches += time.process_time() - self.batch_started
            self.atoms += len(batch[names.Z])

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            spent = (time.process_time() - self.started, self.in_batches)
            for name, seconds in zip(own, spent, strict=True):
                rates[name].append(self.atoms / seconds)
            with _as_jobs_are():
                for name, epoch in others.items():
                    atoms, seconds = epoch()
                    rates[name].append(atoms / seconds)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning, about workers, loggers and validation
        trainer = pytorch_lightning.Trainer(
            max_epochs=n_runs + 1, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
            limit_val_batches=0, default_root_dir=folder, callbacks=[Clock()],
        )  # fmt: skip
        trainer.fit(_task(model), datamodule=_data_module(structures, model, size, folder))
    return {name: found[1:] for name, found in rates.items()}


def _task(model: ModelSpec) -> Any:
    """Return SchNetPack's task: the model with mean squares of energies and forces as the loss."""
    schnetpack = import_schnetpack()
    kinds = {"schnet": "SchNet", "painn": "PaiNN"}
    network = schnetpack.model.NeuralNetworkPotential(
        representation=getattr(schnetpack.representation, kinds[model.representation])(
            n_atom_basis=model.n_features,
            n_interactions=model.n_interactions,
            radial_basis=schnetpack.nn.GaussianRBF(n_rbf=model.n_radial, cutoff=model.cutoff),
            cutoff_fn=schnetpack.nn.CosineCutoff(model.cutoff),
        ),
        input_modules=[schnetpack.atomistic.PairwiseDistances()],
        output_modules=[
            schnetpack.atomistic.Atomwise(n_in=model.n_features, output_key="energy"),
            schnetpack.atomistic.Forces(),
        ],
        postprocessors=[schnetpack.transform.AddOffsets("energy", add_mean=True)],
    )
    outputs = [
        schnetpack.task.ModelOutput(name, torch.nn.MSELoss(), 1.0, {})
        for name in ("energy", "forces")
    ]
    return schnetpack.task.AtomisticTask(network, outputs, torch.optim.Adam, {"lr": 1e-4})


def _data_module(structures: Sequence[Atoms], model: ModelSpec, size: int, folder: Path) -> Any:
    """Return SchNetPack's data module with the transforms of its own experiments."""
    schnetpack = import_schnetpack()
    path = folder / "structures.db"
    data = schnetpack.data.ASEAtomsData.create(
        str(path), distance_unit="Ang", property_unit_dict={"energy": "eV", "forces": "eV/Ang"}
    )
    labels = [
        {"energy": np.array([a.get_potential_energy()]), "forces": a.get_forces()}
        for a in structures
    ]
    data.add_systems(labels, list(structures))
    return schnetpack.data.AtomsDataModule(
        str(path),
        batch_size=size,
        num_train=len(structures) - 1,
        num_val=1,
        split_file=str(folder / "split.npz"),
        transforms=[
            schnetpack.transform.RemoveOffsets("energy", remove_mean=True),
            schnetpack.transform.MatScipyNeighborList(cutoff=model.cutoff),
            schnetpack.transform.CastTo32(),
        ],
        num_workers=0,
        pin_memory=False,
    )


def measured_peak(seconds: float = 0.3) -> Peak:
    """Measure matrix products and copies, both in cache, of float32 on one thread."""
    with _one_thread():
        a = torch.ones(768, 768)
        source = torch.ones(1 << 16)
        product = _fastest(lambda: a @ a, seconds)
        copy = _fastest(source.clone, seconds)
    return Peak(2 * 768**3 / product, 2 * 4 * len(source) / copy)


def _fastest(call: Callable[[], object], seconds: float) -> float:
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return float(best)


def _floor(training: Training, peak: Peak) -> dict[str, float]:
    """Count one step's work by torch (the loops over pairs are left out) against ``peak``."""
    batch = training.batcher(training.order()[0])
    optimizer = Adam(training.model.parameters())
    signal = LossSignal(len(training.graphs.n_atoms))
    with FlopCounterMode(display=False) as flop, _Traffic() as traffic:
        training.step(0, batch, optimizer, Progress(), signal)
    n = len(batch.atom)
    seconds = flop.get_total_flops() / peak.flop_per_second
    seconds = max(seconds, traffic.n_bytes / peak.bytes_per_second)
    return {
        "flop_per_atom": round(flop.get_total_flops() / n),
        "bytes_per_atom": round(traffic.n_bytes / n),
        "peak_gflop_per_s": round(peak.flop_per_second / 1e9, 1),
        "peak_gbyte_per_s": round(peak.bytes_per_second / 1e9, 1),
        "floor_atoms_per_s": n / seconds,
    }


def _machine() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def draw(table: pd.DataFrame) -> Figure:
    """Draw atoms per second of every trainer, one panel a dataset and model."""
    pairs = drawing.by_dataset(table)
    figure, axes = drawing.panels(len(pairs), TITLE, columns=2, size=(4.0, 1.7))
    for one, (dataset, model) in zip(axes, pairs, strict=True):
        part = table[(table.dataset == dataset) & (table.model == model)]
        _panel(one, part.iloc[::-1])
        names = (wording.dataset(dataset), wording.model(model))
        one.set_title(", ".join(names), pad=12)  # above the word at the guide line
    words = "thousand atoms per second (bar: median of alternating epochs; line: all of them)"
    figure.supxlabel(words, fontsize=8)
    return figure


def _panel(axes: Axes, part: pd.DataFrame) -> None:
    place = [float(y) for y in range(len(part))]
    rate, low, high = (part[name].to_numpy(float) / 1e3 for name in ("atoms_per_s", "min", "max"))
    goal = GOAL * float(rate[list(part.trainer).index("schnetpack")])
    width = 1.2 * max(float(high.max()), goal)
    axes.barh(place, rate, color=[COLOURS[name] for name in part.trainer], height=0.6)
    axes.hlines(place, low, high, color="#222222", lw=1.2)
    for y, end, ratio in zip(place, high, part.ratio.to_numpy(float), strict=True):
        axes.text(float(end) + 0.02 * width, y, f"{ratio:.1f} ×", va="center", fontsize=8, zorder=3,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    axes.set_yticks(place, [TRAINERS[name] for name in part.trainer])
    drawing.guide(axes, goal, f"{GOAL:g} ×", horizontal=False)
    axes.set_xlim(0, width)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write ``training.csv``, ``.svg`` and ``.png`` into a folder."""
    folder = Path((sys.argv[1:] if arguments is None else arguments)[0])
    parts = []
    for dataset in DATASETS:
        spec = load(DatasetSpec, f"config/datasets/{dataset}.yaml")
        structures, _ = generate_part(spec, "smoke")
        for model in MODELS:
            parts.append(
                benchmark(structures, dataset, load(ModelSpec, f"config/models/{model}.yaml"))
            )
    with wording.called(read_names(Path("config"))):
        write(pd.concat(parts, ignore_index=True), folder)
    return 0


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write the table and its figure."""
    write_table(folder / "training.csv", table)
    with drawing.styled():
        drawing.save(
            draw(table), {kind: str(folder / f"training.{kind}") for kind in ("svg", "png")}
        )


if __name__ == "__main__":
    sys.exit(main())
