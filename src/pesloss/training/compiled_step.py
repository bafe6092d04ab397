"""A training step in C: several models that share their batches, one call a step.

The models differ in their weights and losses alone. Each of them is computed as though it were
alone, so that it has the same bits whoever is trained beside it.
"""

import ctypes
import math
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pesloss.data.graphs import Graphs
from pesloss.job.errors import PeslossError
from pesloss.model import compiled
from pesloss.model.batches import Batcher, each_once
from pesloss.model.potential import Potential
from pesloss.training.objective import Objective

HERE = Path(__file__)
METRICS = {"mse": 0, "mae": 1, "huber": 2}
KINDS = {"SchNet": "schnet", "PaiNN": "painn"}
"""Potentials that are trained in C, by the name of SchNetPack's class."""

_Integer, _Real, _Pointer = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class _Network(ctypes.Structure):
    _fields_ = (
        *((name, _Integer) for name in ("features", "radial", "hidden", "blocks", "size")),
        *((name, _Pointer) for name in ("at", "mask", "centres", "exponents", "scale")),
        ("epsilon", _Real),
    )


class _Dataset(ctypes.Structure):
    _fields_ = tuple(
        (name, _Pointer)
        for name in (
            "n_atoms", "first_atom", "n_pairs", "first_pair", "numbers", "first", "second",
            "length", "cutoff", "cutoff_slope", "direction", "energy", "forces",
        )
    )  # fmt: skip


class _Member(ctypes.Structure):
    _fields_ = (
        *((n, _Pointer) for n in ("weights", "gradient", "mean", "square")),
        *((n, _Pointer) for n in ("energy_scale", "force_scale")),
        ("force_weight", _Real),
        ("delta", _Real),
        ("metric", _Integer),
        ("total", _Pointer),
    )


_BATCH = [_Pointer, _Integer, _Pointer, _Integer, _Pointer]  # room, structures, members
_CALLS: dict[str, tuple[list[Any], Any]] = {
    "gradients": ([*_BATCH, _Pointer], _Integer),
    "step": ([*_BATCH, _Real, _Real, _Pointer, _Pointer], _Integer),
    "predict": ([*_BATCH, _Integer, _Pointer, _Pointer], None),
    "signals": ([*_BATCH, _Pointer], None),
    "space_new": ([_Pointer, _Pointer, *[_Integer] * 5], _Pointer),
    "space_free": ([_Pointer], None),
}


PARTS = (
    "batches", "filters", "filters backwards", "sums over pairs", "products of atoms", "losses",
    "Adam",
)  # fmt: skip
"""What the time of a step is divided into, in the order of the C code."""


@cache
def library(
    kind: str, dtype: torch.dtype, instructions: str | None = None, clock: bool = False
) -> ctypes.CDLL:
    """Return the compiled step, with ``clock`` one that keeps its time in an array ``spent``.

    Parameters
    ----------
    kind
        A value of `KINDS`.
    dtype, instructions
        See `pesloss.model.compiled.library`.
    clock
        Whether time is kept.

    Raises
    ------
    pesloss.model.compiled.NotCompiled
        Where it cannot be compiled or loaded.
    """
    sources = [HERE.with_name(f"{HERE.stem}{part}.c") for part in ("", f"_{kind}", "_end")]
    found = compiled.library(sources, dtype, instructions, ("CLOCK",) * clock)
    for name, (arguments, result) in _CALLS.items():
        call = getattr(found, name)
        call.argtypes, call.restype = arguments, result
    return found


class Part(NamedTuple):
    """A rectangle of a weight; vectors are matrices of one row."""

    name: str
    rows: tuple[int, int]
    columns: tuple[int, int]

    def of(self, weight: Tensor) -> Tensor:
        """Return the rectangle as a view of the weight."""
        matrix = weight if weight.dim() == 2 else weight[None]
        return matrix[slice(*self.rows), slice(*self.columns)]


class Slot(NamedTuple):
    """Where a part of a weight lies in the vector of all of them."""

    part: Part
    start: int
    width: int  # of a row, padded

    def of(self, flat: Tensor) -> Tensor:
        """Return the part (K, rows, columns) as a view of vectors (K, n)."""
        rows, columns = (end - start for start, end in (self.part.rows, self.part.columns))
        place = flat[:, self.start : self.start + rows * self.width]
        return place.view(len(flat), rows, self.width)[..., :columns]


def layout(parts: Sequence[Part], vectors: set[str], pad: int) -> tuple[list[Slot], int]:
    """Return where parts of weights lie, one after the other, and the length.

    Both widths of a matrix are rounded up to a multiple of ``pad``, of a vector its length.
    """
    found, end = [], 0
    for part in parts:
        rows, width = (stop - start for start, stop in (part.rows, part.columns))
        found.append(Slot(part, end, _up(width, pad)))
        end += (rows if part.name in vectors else _up(rows, pad)) * _up(width, pad)
    return found, end


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


Shapes = dict[str, tuple[int, ...]]
_LINEAR = ("weight", "bias")
_READOUT = [f"readout.outnet.{layer}.{part}" for layer in (0, 1) for part in _LINEAR]


def _schnet(shapes: Shapes, n_blocks: int) -> list[Part]:
    """Return the weights of a SchNet in the order of the C code."""
    layers = ("filter_network.0", "filter_network.1", "in2f", "f2out.0", "f2out.1")
    names = [f"{layer}.{part}" for layer in layers for part in _LINEAR]
    names.remove("in2f.bias")
    blocks = (f"representation.interactions.{block}." for block in range(n_blocks))
    every = ["representation.embedding.weight", *(b + name for b in blocks for name in names)]
    return [_whole(name, shapes) for name in (*every, *_READOUT)]


def _painn(shapes: Shapes, n_blocks: int) -> list[Part]:
    """Return the weights of a PaiNN in the order of the C code, in squares of features."""
    whole = "representation."
    parts = [_whole(f"{whole}embedding.weight", shapes)]
    parts += _pieces(f"{whole}filter_net", shapes, 3 * n_blocks)
    for block in range(n_blocks):
        context = f"{whole}interactions.{block}.interatomic_context_net"
        mixing = f"{whole}mixing.{block}"
        parts += [_whole(f"{context}.0.{part}", shapes) for part in _LINEAR]
        parts += _pieces(f"{context}.1", shapes, 3)
        parts += _pieces(f"{mixing}.mu_channel_mix", shapes, 2)
        inner = f"{mixing}.intraatomic_context_net"
        rows, columns = shapes[f"{inner}.0.weight"]
        halves = ((0, columns // 2), (columns // 2, columns))
        parts += [Part(f"{inner}.0.weight", (0, rows), half) for half in halves]
        parts += [_whole(f"{inner}.0.bias", shapes), *_pieces(f"{inner}.1", shapes, 3)]
    return parts + [_whole(name, shapes) for name in _READOUT]


def _whole(name: str, shapes: Shapes) -> Part:
    rows, columns = (1, *shapes[name])[-2:]
    return Part(name, (0, rows), (0, columns))


def _pieces(layer: str, shapes: Shapes, number: int) -> list[Part]:
    """Divide the outputs of a layer: for each part its weights and, where there are any, biases."""
    rows, columns = shapes[f"{layer}.weight"]
    n, found = rows // number, []
    for k in range(number):
        span = (k * n, (k + 1) * n)
        found.append(Part(f"{layer}.weight", span, (0, columns)))
        if f"{layer}.bias" in shapes:
            found.append(Part(f"{layer}.bias", (0, 1), span))
    return found


_PARTS = {"schnet": _schnet, "painn": _painn}


class Stack:
    """K potentials of the same kind and shape with Adam's moments, on one dataset.

    Attributes
    ----------
    weights, gradient, mean, square
        Weights, gradients of the losses, Adam's moments, (K, n) with padding that is zero.
    n_steps
        Steps taken.
    total
        (K, S, 3): how often each structure was seen since `total` was last cleared, the sum of its
        energy terms and that of its force terms.

    Raises
    ------
    pesloss.model.compiled.NotCompiled
        Where there is no compiler.
    """

    def __init__(
        self,
        models: Sequence[Potential],
        objectives: Sequence[Objective],
        graphs: Graphs,
        batcher: Batcher,
        batch_size: int,
        instructions: str | None = None,
        clock: bool = False,
    ) -> None:
        first = models[0]
        self.dtype = first.local_energy_scale.dtype
        kind = KINDS[type(first.representation).__name__]
        self.library = library(kind, self.dtype, instructions, clock)
        self.shapes = {name: tuple(value.shape) for name, value in first.named_parameters()}
        blocks = len(first.representation.interactions)
        self.pad = _padding(self.dtype, instructions or compiled.instruction_set())
        vectors = {name for name, shape in self.shapes.items() if len(shape) == 1}
        self.layout, size = layout(_PARTS[kind](self.shapes, blocks), vectors, self.pad)
        self.weights, self.gradient, self.mean, self.square = (
            torch.zeros(len(models), size, dtype=self.dtype) for _ in range(4)
        )
        self.total = np.zeros((len(models), len(graphs.n_atoms), 3))
        self.n_steps = 0
        self.n_atoms = graphs.n_atoms
        self._kept: list[Any] = []
        self._network = self._network_of(first, blocks, size)
        self._data = self._dataset_of(graphs, batcher, first, objectives[0])
        self._members = (_Member * len(models))()
        for k, model in enumerate(models):
            self.load(k, model.state_dict())
            self.set_objective(k, objectives[k])
        self._space = self._room(batcher, batch_size)

    # What C reads

    def _network_of(self, model: Potential, blocks: int, size: int) -> _Network:
        basis = model.representation.radial_basis
        mask = torch.zeros(1, size, dtype=self.dtype)
        for slot in self.layout:
            slot.of(mask)[:] = 1
        radial = _up(len(basis.offsets), self.pad)
        numbers = torch.zeros(2, radial, dtype=self.dtype)
        numbers[0, : len(basis.offsets)] = basis.offsets
        numbers[1, : len(basis.offsets)] = -0.5 / basis.widths.square()
        at = np.array([slot.start for slot in self.layout], dtype=np.int64)
        return _Network(
            _up(self.shapes["representation.embedding.weight"][1], self.pad),
            radial,
            _up(self.shapes["readout.outnet.0.weight"][0], self.pad),
            blocks,
            size,
            self._keep(at),
            self._keep(mask) if bool((mask == 0).any()) else None,
            *(self._keep(row.contiguous()) for row in numbers),
            self._keep(model.local_energy_scale.detach().clone()),
            _epsilon(model),
        )

    def _dataset_of(
        self, graphs: Graphs, batcher: Batcher, model: Potential, objective: Objective
    ) -> _Dataset:
        given = (
            batcher.n_atoms, batcher.first_atom, batcher.n_pairs, batcher.first_pair,
            batcher.numbers, batcher.first, batcher.second,
        )  # fmt: skip
        start = torch.repeat_interleave(batcher.first_atom, batcher.n_pairs)
        _check_pairs(graphs, batcher)
        ends = [graphs.positions[(start + end).numpy()] for end in (batcher.first, batcher.second)]
        vector = ends[1] - ends[0] + graphs.offset[each_once(graphs)]
        length = np.linalg.norm(vector, axis=1)
        cutoff = float(model.representation.cutoff_fn.cutoff)
        angle, inside = length * math.pi / cutoff, length < cutoff
        reals = (
            length,
            0.5 * (np.cos(angle) + 1) * inside,
            -0.5 * math.pi / cutoff * np.sin(angle) * inside,
            vector / length[:, None],
        )
        labels = (objective.labels.deviation, objective.labels.forces)
        return _Dataset(
            *(self._keep(values.contiguous()) for values in given),
            *(self._keep(torch.as_tensor(values).to(self.dtype)) for values in reals),
            *(self._keep(values.contiguous()) for values in labels),
        )

    def _keep(self, values: NDArray[Any] | Tensor) -> int:
        """Return the address of values, which are kept as long as this object is."""
        self._kept.append(values)
        return _address(values)

    def _room(self, batcher: Batcher, batch_size: int) -> int:
        sizes = (batcher.n_atoms.numpy(), batcher.n_pairs.numpy())
        rooms = (int(np.sort(of_all)[-batch_size:].sum()) for of_all in sizes)
        pointers = (ctypes.addressof(self._network), ctypes.addressof(self._data))
        space = self.library.space_new(
            *pointers, len(self.n_atoms), len(self._members), batch_size, *rooms
        )
        if not space:
            raise PeslossError("training: there is no memory for a batch; allowed: a smaller one")
        weakref.finalize(self, self.library.space_free, space)
        return int(space)

    def set_objective(self, k: int, objective: Objective) -> None:
        """Let member ``k`` be trained under ``objective``, as its scales are now."""
        scales = (objective.energy_scale, objective.force_scale)
        kept = [scale.detach().to(self.dtype).contiguous() for scale in scales]
        self._kept.append(kept)
        state = (self.weights, self.gradient, self.mean, self.square)
        self._members[k] = _Member(
            *(_address(values[k]) for values in state),
            *(_address(scale) for scale in kept),
            objective.force_weight,
            objective.delta,
            METRICS[objective.metric_name],
            _address(self.total[k]),
        )

    # Weights by their names

    def load(self, k: int, state: Mapping[str, Tensor], into: Tensor | None = None) -> None:
        """Take the weights of member ``k``, or its part of ``into`` (K, n), by their names."""
        flat = (self.weights if into is None else into)[k : k + 1]
        for slot in self.layout:
            slot.of(flat)[0] = slot.part.of(state[slot.part.name])

    def named(self, k: int, values: Tensor | None = None) -> dict[str, Tensor]:
        """Return the weights of member ``k``, or its part of ``values`` (K, n), by their names."""
        flat = (self.weights if values is None else values)[k : k + 1]
        found = {name: flat.new_zeros(shape) for name, shape in self.shapes.items()}
        for slot in self.layout:
            slot.part.of(found[slot.part.name])[:] = slot.of(flat)[0]
        return found

    # What C does, to the members that are named

    def step(
        self, members: Sequence[int], chosen: NDArray[np.int64], rate: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Take one step of every member whose loss is finite.

        Parameters
        ----------
        members
            k of them, in any order; all have taken as many steps.
        chosen
            (B,) structures of the batch.
        rate
            Learning rate.

        Returns
        -------
        tuple
            (k, 3): mean of the energy terms, of the force terms, and the loss; and by structure
            the energy terms and the sums of the force terms, (k, 2, B).
        """
        terms, found = np.empty((len(members), 2, len(chosen))), np.empty((len(members), 3))
        self.n_steps += 1
        steps = float(self.n_steps)
        self._call("step", chosen, members, rate, steps, _address(terms), _address(found))
        return found, terms

    def gradients(self, members: Sequence[int], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Compute `gradient` of a batch; return the terms by structure as `step` does."""
        terms = np.empty((len(members), 2, len(chosen)))
        self._call("gradients", chosen, members, _address(terms))
        return terms

    def predict(self, members: Sequence[int], chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return local energies (k, A) and forces (k, A, 3) of structures, in the model's unit."""
        n = int(self.n_atoms[chosen].sum())
        local = torch.empty(len(members), n, dtype=self.dtype)
        forces = torch.empty(len(members), n, 3, dtype=self.dtype)
        self._call("predict", chosen, members, n, _address(local), _address(forces))
        return local, forces

    def signals(self, members: Sequence[int], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return norms of gradients by the weights of each structure alone, (k, B, 3).

        Of its energy term, of its energy, and of the sum of its force terms.
        """
        norms = np.empty((len(members), len(chosen), 3))
        self._call("signals", chosen, members, _address(norms))
        return norms

    def spent(self) -> dict[str, float]:
        """Return the seconds of each part since the library was loaded, where it has a clock."""
        found = (ctypes.c_double * len(PARTS)).in_dll(self.library, "spent")
        return dict(zip(PARTS, found, strict=True))

    def _call(
        self, name: str, chosen: NDArray[np.int64], members: Sequence[int], *more: float
    ) -> None:
        """Call a function of the library; Python has to keep what it reads until it returns."""
        given = (_Member * len(members))(*(self._members[k] for k in members))
        index = np.ascontiguousarray(chosen, dtype=np.int64)
        where = (self._space, len(index), _address(index), len(members), ctypes.addressof(given))
        getattr(self.library, name)(*where, *more)


def _address(values: NDArray[Any] | Tensor) -> int:
    return int(values.data_ptr() if isinstance(values, Tensor) else values.ctypes.data)


def _check_pairs(graphs: Graphs, batcher: Batcher) -> None:
    """Refuse pairs of atoms that are not there, which C would look for all the same."""
    sizes = torch.repeat_interleave(batcher.n_atoms, batcher.n_pairs)
    wrong = torch.zeros_like(sizes, dtype=torch.bool)
    for end in (batcher.first, batcher.second):
        wrong |= (end < 0) | (end >= sizes)
    if bool(wrong.any()):
        pair = int(wrong.nonzero()[0])
        owner = int(torch.searchsorted(batcher.first_pair + batcher.n_pairs, pair, right=True))
        name = graphs.structure[owner]
        raise PeslossError(f"graphs: structure {name} has a neighbour pair of an atom it lacks")


def _epsilon(model: Potential) -> float:
    """Return what keeps PaiNN's norms of vectors from zero."""
    mixing = getattr(model.representation, "mixing", None)
    return float(mixing[0].epsilon) if mixing else 0.0


def _padding(dtype: torch.dtype, instructions: str) -> int:
    """Return what widths are multiples of: of a vector, and of four as the C code wants it."""
    return max(4, compiled.VECTORS[instructions] // dtype.itemsize)
