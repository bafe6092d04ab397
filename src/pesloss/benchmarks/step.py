"""What a step costs: alone and in groups, by instruction set, by part, and at least."""

import ctypes
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ase import Atoms

from pesloss import losses
from pesloss.data.graphs import build_graphs
from pesloss.data.store import structure_table
from pesloss.losses.controls import is_control
from pesloss.model import compiled
from pesloss.spec.run import Run
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.statistics.fit import fit_statistics
from pesloss.training import compiled_step
from pesloss.training.job import alike, prepare
from pesloss.training.learners import InC, Learners, Shared
from pesloss.training.loop import Training, deterministic, learning_rate

NUMBERS = (1, 2, 4, 7, 14, 28)
WEIGHTS = (0.3, 3.0, 30.0, 300.0)
SLICE = 300_000  # rounds of multiplications that are timed at once
Epoch = Callable[[], tuple[int, float]]  # atoms passed and seconds


def statistics_of(structures: Sequence[Atoms], dataset: str) -> DatasetStatistics:
    """Fit the statistics of structures that are all trained on."""
    table = structure_table(structures)
    splits = pd.DataFrame({"structure": table.structure, "split": "train"})
    return fit_statistics(dataset, table, splits, structures)


def trainings(
    structures: Sequence[Atoms], dataset: str, model: ModelSpec, size: int, number: int = 1
) -> list[Training]:
    """Return trainings of one epoch that differ in their losses: of means of squares first."""
    everything = np.arange(len(structures))
    split = dict.fromkeys(("train", "validation"), everything)
    spec = TrainingSpec(n_steps=len(structures) // size, batch_size=size, learning_rate=1e-4)
    statistics = statistics_of(structures, dataset)
    graphs = build_graphs(structures, model.cutoff)
    names = [name for name in losses.names("energy") if not is_control(name)]
    grid = (Run(dataset, "schnet", name, "raw", "mse", w) for w, name in product(WEIGHTS, names))
    first = prepare(Run(dataset, "schnet", "raw", "raw"), graphs, split, statistics, model, spec)
    return [first, *(alike(first, run, statistics) for run in islice(grid, number - 1))]


def shared(training: Training) -> Shared:
    """Return what trainings have in common."""
    return Shared(training.graphs, training.batcher, training.spec.batch_size)


def epoch_of(learners: Learners, training: Training) -> Epoch:
    """Return a function that trains one epoch as a job does, diagnostics left out."""
    members = range(len(learners.models))
    order, atoms = training.order(), training.graphs.n_atoms

    def epoch() -> tuple[int, float]:
        started = time.process_time()
        for step, chosen in enumerate(order):
            learners.step(members, chosen, learning_rate(step, training.spec))
        return len(members) * int(atoms[order].sum()), time.process_time() - started

    return epoch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, and give back what was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def as_jobs_are() -> Iterator[None]:
    """Put torch into the state of a job here, and back into the one that it starts in."""
    deterministic()
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode("default")
        torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
        torch.set_flush_denormal(False)


def instruction_sets() -> list[str]:
    """Return the instruction sets that this machine has, the best first; none without compiler."""
    best = compiled.instruction_set()
    names = list(compiled.VECTORS)
    try:
        compiled_step.library("schnet", torch.float32)
    except compiled.NotCompiled:
        return []
    return names[names.index(best) :]


def groups(
    structures: Sequence[Atoms],
    dataset: str,
    model: ModelSpec,
    n_runs: int = 9,
    size: int = 10,
    numbers: Sequence[int] = NUMBERS,
) -> pd.DataFrame:
    """Train epochs of Stack in groups of several sizes, by every instruction set, in turn.

    Returns
    -------
    DataFrame
        One row per instruction set and number of members: milliseconds of a step of one member
        (median, smallest, largest), atoms per second of all members, and how many times the
        seconds of the counted operations (`counted`) at this machine's peak that is. Empty where
        there is no compiler.
    """
    members = trainings(structures, dataset, model, size, max(numbers))
    epochs = {
        (instructions, k): epoch_of(_in_c(members[:k], instructions), members[0])
        for instructions in instruction_sets()
        for k in numbers
    }
    found: dict[tuple[str, int], list[tuple[int, float]]] = {key: [] for key in epochs}
    with one_thread(), as_jobs_are():
        for _ in range(n_runs + 1):
            for key, epoch in epochs.items():
                found[key].append(epoch())
    least = _least_seconds(members[0]) if epochs else 0.0
    n_steps = members[0].spec.n_steps
    rows = []
    for (instructions, k), runs in found.items():
        atoms, seconds = runs[0][0], np.array([s for _, s in runs[1:]])
        step = 1e3 * seconds / (k * n_steps)
        rows.append(
            {
                "model": model.representation,
                "dataset": dataset,
                "instructions": instructions,
                "members": k,
                "ms_per_step": np.median(step),
                "min": step.min(),
                "max": step.max(),
                "atoms_per_s": atoms / np.median(seconds),
                "times_floor": np.median(step) / (1e3 * least),
                "runs": n_runs,
            }
        )
    return pd.DataFrame(rows)


def _in_c(members: Sequence[Training], instructions: str, clock: bool = False) -> InC:
    models, objectives = [t.model for t in members], [t.objective for t in members]
    return InC(models, objectives, shared(members[0]), instructions, clock)


def parts(
    structures: Sequence[Atoms],
    dataset: str,
    model: ModelSpec,
    n_epochs: int = 9,
    size: int = 10,
    number: int = 7,
) -> pd.DataFrame:
    """Measure where the time of a group's steps goes, by a step that is compiled with a clock.

    Returns
    -------
    DataFrame
        One row per instruction set and part: milliseconds of a step of one member, and their
        share. What Python takes is the rest of what a step takes. Shares are those on the clock,
        milliseconds those of the processor in all divided by them: reading the processor's own
        clock would take as long as some parts do.
    """
    members, rows = trainings(structures, dataset, model, size, number), []
    for instructions in instruction_sets():
        learners = _in_c(members, instructions, clock=True)
        epoch = epoch_of(learners, members[0])
        with one_thread(), as_jobs_are():
            epoch()
            before, started = learners.stack.spent(), time.perf_counter()
            processor = sum(epoch()[1] for _ in range(n_epochs))
            whole = time.perf_counter() - started
        found = {name: s - before[name] for name, s in learners.stack.spent().items()}
        found["Python"] = whole - sum(found.values())
        steps = number * n_epochs * members[0].spec.n_steps
        for name, seconds in found.items():
            rows.append(
                {
                    "model": model.representation,
                    "dataset": dataset,
                    "instructions": instructions,
                    "members": number,
                    "part": name,
                    "ms_per_step": 1e3 * seconds / whole * processor / steps,
                    "share": seconds / whole,
                }
            )
    return pd.DataFrame(rows)


def counted(model: ModelSpec, hidden: int, n_weights: int, atoms: float, pairs: float) -> float:
    """Count the multiplications and additions of one step, without padding.

    Products of matrices, sums over pairs, biases of PaiNN's filters, what SchNet does number by
    number to filters, Adam. Not counted: exponentials, logarithms, divisions, what is done number
    by number within atoms of PaiNN, what is looked up or copied.

    Parameters
    ----------
    model
        F features, R Gaussians, L blocks.
    hidden
        H, width of the readout.
    n_weights
        Of the whole model.
    atoms, pairs
        Of a batch, each pair once.
    """
    count = {"schnet": _counted_schnet, "painn": _counted_painn}[model.representation]
    of_atom, of_pair = count(model.n_features, model.n_radial, model.n_interactions)
    readout = 6 * 2 * model.n_features * hidden
    return pairs * of_pair + atoms * (of_atom + readout) + 12 * n_weights


def _counted_schnet(f: int, r: int, blocks: int) -> tuple[int, int]:
    """Return operations of one atom and of one pair; blocks but the first have some more."""
    later = blocks - 1
    filters = 2 * (2 * r * f + 2 * f * f)  # outputs and slopes
    filters_back = 2 * (4 * f * f + 2 * r * f)  # by both layers' weights and the hidden layer
    elementwise = 4 * f + f + 11 * f  # cutoff; slope of the hidden layer, and back
    sums = (4 + 5 + 9 + 14) * f  # messages, pulls, and both backwards
    of_pair = blocks * (filters + filters_back + elementwise + sums) + later * 12 * f
    products, outers = 10, 5  # of a block with F × F weights; two and one more in later ones
    of_atom = blocks * (products + outers) * 2 * f * f + later * 3 * 2 * f * f
    return of_atom + blocks * 12 * f, of_pair


def _counted_painn(f: int, r: int, blocks: int) -> tuple[int, int]:
    """Return operations of one atom and of one pair.

    Blocks but the first receive vectors, blocks but the last pass them on.
    """
    later, kinds = blocks - 1, 3 * blocks - 1
    filters = kinds * (4 * 2 * r * f + 8 * f)  # outputs and slopes, and back
    sums = blocks * (19 + 48 + 46 + 108) * f + later * (12 + 27 + 27 + 62) * f
    values, slopes, moved, back, outers = 13, 12, 13, 13, 26  # products with F × F weights
    squares = blocks * (values + slopes + moved + back + outers) + later * (7 + 6)
    return squares * 2 * f * f, filters + sums


def _least_seconds(training: Training) -> float:
    """Return the least seconds of one step: its counted operations at the machine's peak."""
    _, flop = counted_of(training)
    return flop / measured_peak()


def counted_of(training: Training) -> tuple[float, float]:
    """Return atoms and `counted` operations of the mean step of a training."""
    order, graphs = training.order(), training.graphs
    atoms, both = (float(n[order].sum()) / len(order) for n in (graphs.n_atoms, graphs.n_pairs))
    weights = dict(training.model.named_parameters())
    representation = training.model.representation
    model = ModelSpec(
        representation="painn" if hasattr(representation, "mixing") else "schnet",
        n_features=representation.n_atom_basis,
        n_interactions=len(representation.interactions),
        n_radial=representation.radial_basis.n_rbf,
        cutoff=float(representation.cutoff_fn.cutoff),
    )
    hidden = len(weights["readout.outnet.0.weight"])
    n_weights = sum(weight.numel() for weight in weights.values())
    return atoms, counted(model, hidden, n_weights, atoms, both / 2)


def measured_peak(seconds: float = 0.3) -> float:
    """Measure float32 multiplications and additions per second in registers, one thread.

    In C with the instruction set that steps use; where there is no compiler, of torch's products
    of matrices.
    """
    with one_thread():
        return _peak_in_c(seconds) or _peak_in_torch(seconds)


def _peak_in_c(seconds: float) -> float | None:
    try:
        source = Path(__file__).with_name("peak.c")
        fused = compiled.library([source], torch.float32).fused
    except compiled.NotCompiled:
        return None
    fused.restype, fused.argtypes = ctypes.c_double, [ctypes.c_int64, ctypes.c_void_p]
    result = ctypes.c_double()
    number = fused(1, ctypes.addressof(result)) * SLICE
    return float(number) / _fastest(lambda: fused(SLICE, ctypes.addressof(result)), seconds)


def _peak_in_torch(seconds: float) -> float:
    a = torch.ones(768, 768)
    return 2 * 768**3 / _fastest(lambda: a @ a, seconds)


def _fastest(call: Callable[[], object], seconds: float) -> float:
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return float(best)


def joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return tables one below the other, those that are empty left out."""
    found = [table for table in tables if len(table)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()
