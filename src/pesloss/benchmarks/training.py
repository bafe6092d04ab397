"""Atoms per second of a training here, by SchNetPack's own trainer and by a plain eager loop."""

import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pesloss.benchmarks import step
from pesloss.benchmarks.step import Epoch
from pesloss.data.generate import generate_part
from pesloss.data.spec import DatasetSpec
from pesloss.job import provenance
from pesloss.job.files import write_table
from pesloss.model import pair_kernels
from pesloss.model.batches import Batch
from pesloss.model.potential import Potential, Prediction, build_model
from pesloss.model.schnetpack_import import import_schnetpack
from pesloss.report import drawing, wording
from pesloss.spec.config_files import read_names
from pesloss.spec.settings import ModelSpec
from pesloss.spec.yaml_models import load
from pesloss.training.learners import InTorch, Learners, described
from pesloss.training.loop import Training, learners_of

TITLE = "How fast does a training run on one thread? The same model, data and batches"
PACKAGES = ("torch", "schnetpack", "pytorch-lightning", "numpy")
TOGETHER = 7  # members of the group that is compared
GOALS = {"schnet": 10.0, "painn": 8.0}  # times SchNetPack's trainer, alone
TRAINERS = {
    "schnetpack": "SchNetPack's trainer",
    "schnetpack_loaded": "the same, loading free",
    "eager": "its forward pass, plain loop",
    "torch": "pesloss, in torch",
    "pesloss": "pesloss",
    "pesloss_group": f"pesloss, {TOGETHER} runs together",
}
COLOURS = {
    "schnetpack": "#A8A8A8",
    "schnetpack_loaded": "#BFBFBF",
    "eager": "#D0D0D0",
    "torch": "#7FB8D8",
    "pesloss": "#0072B2",
    "pesloss_group": "#004F7C",
}
DATASETS = ("xtb_varied", "si_sw")
MODELS = ("schnet", "painn")


class Eager(Potential):
    """The same model by SchNetPack's own forward pass."""

    def forward(self, batch: Batch, differentiable: bool = True) -> Prediction:
        """Predict energies and forces."""
        return self.reference(batch)


def benchmark(
    structures: Sequence[Atoms], dataset: str, model: ModelSpec, n_runs: int = 9, size: int = 10
) -> pd.DataFrame:
    """Train epochs of all trainers in turn, on one thread.

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
    members = step.trainings(structures, dataset, model, size, TOGETHER)
    training = members[0]
    with step.one_thread(), tempfile.TemporaryDirectory() as folder, chdir(folder):
        others = _others(members, model, dataset, structures)
        rates = _alternating(structures, model, size, others, n_runs, Path(folder))
    floor = _floor(training)
    rows = [
        {
            "model": model.representation,
            "dataset": dataset,
            "threads": 1,
            "trainer": trainer,
            "members": TOGETHER if trainer == "pesloss_group" else 1,
            "atoms_per_s": float(np.median(found)),
            "ratio": float(np.median(found) / np.median(rates["schnetpack"])),
            "min": min(found),
            "max": max(found),
            "runs": len(found),
            "atoms_per_structure": float(np.mean([len(atoms) for atoms in structures])),
            **floor,
            "step": described(training.model, training.batcher.device),
            "sums_over_pairs": pair_kernels.described(),
            "machine": _machine(),
            "versions": " ".join(f"{k} {v}" for k, v in provenance.versions(PACKAGES).items()),
        }
        for trainer, found in rates.items()
    ]
    return pd.DataFrame(rows)


def _others(
    members: Sequence[Training], model: ModelSpec, dataset: str, structures: Sequence[Atoms]
) -> dict[str, Epoch]:
    """Return an epoch of each trainer but SchNetPack's."""
    training = members[0]
    objectives, shared = [training.objective], step.shared(training)
    plain = build_model(model, step.statistics_of(structures, dataset), 0, Eager)
    learners: dict[str, Learners] = {"eager": InTorch([plain], objectives, shared, fused=False)}
    if step.instruction_sets():
        learners["torch"] = InTorch([training.model], objectives, shared)
    learners |= {"pesloss": learners_of([training]), "pesloss_group": learners_of(members)}
    return {name: step.epoch_of(found, training) for name, found in learners.items()}


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
            with step.as_jobs_are():
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


def _floor(training: Training) -> dict[str, float]:
    """Return what is counted of one step, and the rate it would allow at this machine's peak."""
    atoms, flop, peak = *step.counted_of(training), step.measured_peak()
    return {
        "flop_per_atom": round(flop / atoms),
        "peak_gflop_per_s": round(peak / 1e9, 1),
        "floor_atoms_per_s": peak * atoms / flop,
    }


def _machine() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def draw(table: pd.DataFrame) -> Figure:
    """Draw atoms per second of every trainer, one panel a dataset and model."""
    pairs = drawing.by_dataset(table)
    figure, axes = drawing.panels(len(pairs), TITLE, columns=2, size=(4.0, 2.1))
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
    times = GOALS[part.model.iloc[0]]
    goal = times * float(rate[list(part.trainer).index("schnetpack")])
    width = 1.2 * max(float(high.max()), goal)
    axes.barh(place, rate, color=[COLOURS[name] for name in part.trainer], height=0.6)
    axes.hlines(place, low, high, color="#222222", lw=1.2)
    for y, end, ratio in zip(place, high, part.ratio.to_numpy(float), strict=True):
        axes.text(float(end) + 0.02 * width, y, f"{ratio:.1f} ×", va="center", fontsize=8, zorder=3,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    axes.set_yticks(place, [TRAINERS[name] for name in part.trainer])
    drawing.guide(axes, goal, f"{times:g} ×", horizontal=False)
    axes.set_xlim(0, width)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write ``training.csv``, ``.svg`` and ``.png``, and tables of groups and parts of a step."""
    folder = Path((sys.argv[1:] if arguments is None else arguments)[0])
    trained: list[pd.DataFrame] = []
    groups: list[pd.DataFrame] = []
    parts: list[pd.DataFrame] = []
    for dataset in DATASETS:
        spec = load(DatasetSpec, f"config/datasets/{dataset}.yaml")
        structures, _ = generate_part(spec, "smoke")
        models = [load(ModelSpec, f"config/models/{model}.yaml") for model in MODELS]
        trained += [benchmark(structures, dataset, model) for model in models]
        groups += [step.groups(structures, dataset, model) for model in models]
        parts += [step.parts(structures, dataset, model) for model in models]
    with wording.called(read_names(Path("config"))):
        write(step.joined(trained), step.joined(groups), step.joined(parts), folder)
    return 0


def write(trained: pd.DataFrame, groups: pd.DataFrame, parts: pd.DataFrame, folder: Path) -> None:
    """Write the tables and the figure; of groups and parts only where there is a compiler."""
    write_table(folder / "training.csv", trained)
    for name, table in (("groups", groups), ("parts", parts)):
        if len(table):
            write_table(folder / f"training_{name}.csv", table)
    with drawing.styled():
        drawing.save(
            draw(trained), {kind: str(folder / f"training.{kind}") for kind in ("svg", "png")}
        )


if __name__ == "__main__":
    sys.exit(main())
