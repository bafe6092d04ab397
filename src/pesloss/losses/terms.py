"""Energy and force terms of a loss on any batch: weights, metrics and averages of every code."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.losses import energy_loss, force_loss
from pesloss.losses.base import EnergyLoss, ForceLoss, PowerLoss
from pesloss.losses.forces.raw import Loss as RawForces
from pesloss.losses.metrics import METRICS
from pesloss.scales.scales import Scales

Reduction = Literal["mean", "sum", "root_mean"]
REGIMES = (100.0, 200.0, 300.0)  # eV/Å, where MACE's conditional Huber loss changes δ
FACTORS = (1.0, 0.7, 0.4, 0.1)


class Structures(NamedTuple):
    """What a loss needs to know of a batch of S structures with A atoms.

    Attributes
    ----------
    composition
        (S, Z) counts; one column, N, for a loss without scales.
    owner
        (A,) structure of each atom.
    numbers
        (A,) atomic numbers.
    species
        (A,) index of each atom's species in the scales; zeros without them.
    energy_weight, force_weight
        (S,) factors of the terms of each structure.
    """

    composition: Tensor
    owner: Tensor
    numbers: Tensor
    species: Tensor
    energy_weight: Tensor
    force_weight: Tensor


class Terms(NamedTuple):
    """A loss and the two weighted terms it is the sum of."""

    total: Tensor
    energy: Tensor
    forces: Tensor


@dataclass(frozen=True)
class EnergyTerm:
    """``w · reduce_k c_k metric(ΔE_k / (u s_k))`` with ``s_k`` from an energy loss.

    Attributes
    ----------
    loss
        Gives ``s_k``.
    metric, delta
        "mse", "mae" or "huber" with its δ, in the unit of the argument.
    weight
        w.
    reduction
        "mean" or "sum" over structures, or "root_mean": the square root of the mean over the
        batch, which does not add up over batches.
    unit
        u, in which the code at hand measures the argument.
    weigh_argument
        Whether the structure's weight ``c_k`` multiplies the argument of the metric instead.
    centred
        Whether the mean argument of the batch is subtracted from each first. Structures count in
        that mean by the factor that the energy term has and the force term has not.
    """

    loss: EnergyLoss
    metric: str = "mse"
    delta: float = 1.0
    weight: float = 1.0
    reduction: Reduction = "mean"
    unit: float = 1.0
    weigh_argument: bool = False
    centred: bool = False

    def __call__(self, error: Tensor, batch: Structures) -> Tensor:
        """Return the weighted term of errors (S,).

        Raises
        ------
        PeslossError
            For a centred term and a structure whose force term has no positive weight.
        """
        argument = error / (self.unit * self.loss.scale(batch.composition.to(error.dtype)))
        if self.centred:
            argument = argument - mean_argument(argument, batch)
        if self.weigh_argument:
            values = METRICS[self.metric](batch.energy_weight * argument, self.delta)
        else:
            values = batch.energy_weight * METRICS[self.metric](argument, self.delta)
        return self.weight * reduced(values, self.reduction)

    @property
    def formula(self) -> str:
        """The term as text."""
        scale = self.loss.formula
        unit = "" if self.unit == 1 else f"{self.unit:g}"
        below = unit + (" " if unit and scale != "1" else "") + ("" if scale == "1" else scale)
        below = f"({below})" if " " in below and not below.startswith("√(") else below
        argument = f"ΔE / {below}" if below else "ΔE"
        if self.centred:
            argument = f"{argument} − ⟨{argument}⟩"
        return _formula(self.weight, self.reduction, "k", self.metric, self.delta, argument)


@dataclass(frozen=True)
class ForceTerm:
    """``w · reduce c_k metric(ΔF_ic / (u η_i))`` with ``η_i`` from a force loss.

    Attributes
    ----------
    loss
        Gives ``η_i``.
    of
        "components": the metric of each component; "vectors": of the length of the error.
    average
        "atoms": all atoms of the batch alike, so that a structure counts as its number of atoms;
        "structures": a mean over each structure, then over structures; "species": a mean over the
        atoms of each species, then over the species of the batch.
    regimes
        Huber's δ times 0.7, 0.4 and 0.1 where the reference force, in the unit of the argument,
        reaches 100, 200 and 300 (MACE's conditional Huber loss).
    metric, delta, weight, reduction, unit, weigh_argument
        As in `EnergyTerm`. The reduction is over atoms and components.
    """

    loss: ForceLoss = field(default_factory=RawForces)
    metric: str = "mse"
    delta: float = 1.0
    weight: float = 1.0
    reduction: Reduction = "mean"
    unit: float = 1.0
    of: Literal["components", "vectors"] = "components"
    average: Literal["atoms", "structures", "species"] = "atoms"
    regimes: bool = False
    weigh_argument: bool = False

    def __post_init__(self) -> None:
        if self.average != "atoms" and self.reduction != "mean":
            allowed = "mean with averages over structures or species"
            raise wrong_value("ForceTerm", "reduction", self.reduction, allowed)

    def __call__(self, error: Tensor, target: Tensor, batch: Structures) -> Tensor:
        """Return the weighted term of errors (A, 3) of reference forces (A, 3)."""
        weight = batch.force_weight[batch.owner, None]
        scale = (self.unit * self.loss.scale(batch.species).to(error.dtype))[:, None]
        argument, size = error / scale, target / scale
        if self.weigh_argument:
            argument, size, weight = weight * argument, weight * size, torch.ones_like(weight)
        if self.of == "vectors":
            argument = torch.linalg.vector_norm(argument, dim=-1, keepdim=True)
        values = weight * METRICS[self.metric](argument, self._delta(size))
        return self.weight * self._reduced(values, batch)

    def _delta(self, target: Tensor) -> float | Tensor:
        if not self.regimes:
            return self.delta
        norm = torch.linalg.vector_norm(target, dim=-1, keepdim=True)
        regime = torch.bucketize(norm, norm.new_tensor(REGIMES), right=True)
        factor: Tensor = norm.new_tensor(FACTORS)[regime]
        return self.delta * factor

    def _reduced(self, values: Tensor, batch: Structures) -> Tensor:
        if self.average == "atoms":
            return reduced(values, self.reduction)
        members = batch.owner if self.average == "structures" else batch.numbers
        return mean_of_means(values.mean(dim=1), members)

    @property
    def formula(self) -> str:
        """The term as text."""
        error = "‖ΔF‖" if self.of == "vectors" else "ΔF"
        below = " ".join(
            part
            for part in ("" if self.unit == 1 else f"{self.unit:g}", self.loss.formula)
            if part not in ("", "1")
        )
        below = f"({below})" if " " in below else below
        argument = f"{error} / {below}" if below else error
        inner = "i" if self.of == "vectors" else "i,c"
        over = {"atoms": inner, "structures": f"k mean_{inner}", "species": f"z mean_{inner}"}
        index = over[self.average]
        delta = "δ" if self.regimes else self.delta
        return _formula(self.weight, self.reduction, index, self.metric, delta, argument)


@dataclass(frozen=True)
class EnergyForceLoss:
    """The sum of an energy and a force term, on tensors and nothing else.

    Examples
    --------
    >>> loss = energy_force_loss(Scales.read("scales.json"))              # doctest: +SKIP
    >>> loss(energy, forces, target_energy, target_forces, numbers, owner)  # doctest: +SKIP
    """

    energy: EnergyTerm
    forces: ForceTerm

    def __call__(
        self,
        energy: Tensor,
        forces: Tensor,
        target_energy: Tensor,
        target_forces: Tensor,
        numbers: Tensor,
        owner: Tensor,
        energy_weight: Tensor | None = None,
        force_weight: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch, a scalar.

        Parameters
        ----------
        energy, target_energy
            (S,) predicted and reference total energies.
        forces, target_forces
            (A, 3) predicted and reference forces.
        numbers
            (A,) atomic numbers.
        owner
            (A,) index of each atom's structure, 0 to S − 1.
        energy_weight, force_weight
            (S,) factors of each structure's terms; 1 where left out.

        Raises
        ------
        PeslossError
            When shapes do not fit, a structure has no atom, or a species has no scale.
        """
        return self.terms(
            energy,
            forces,
            target_energy,
            target_forces,
            numbers,
            owner,
            energy_weight,
            force_weight,
        ).total

    def terms(
        self,
        energy: Tensor,
        forces: Tensor,
        target_energy: Tensor,
        target_forces: Tensor,
        numbers: Tensor,
        owner: Tensor,
        energy_weight: Tensor | None = None,
        force_weight: Tensor | None = None,
    ) -> Terms:
        """Return the loss and its two terms; arguments as in a call."""
        _check(energy, forces, target_energy, target_forces, numbers, owner)
        ones = torch.ones_like(target_energy)
        batch = structures(
            self.scales,
            numbers,
            owner,
            ones if energy_weight is None else energy_weight,
            ones if force_weight is None else force_weight,
        )
        energy_term = self.energy(energy - target_energy, batch)
        force_term = self.forces(forces - target_forces, target_forces, batch)
        return Terms(energy_term + force_term, energy_term, force_term)

    @property
    def scales(self) -> Scales | None:
        """The scales of whichever term has some."""
        return self.energy.loss.given_scales or self.forces.loss.given_scales

    def weighted(
        self, energy: float | None = None, forces: float | None = None
    ) -> "EnergyForceLoss":
        """Return the same loss with other weights of its terms."""
        return EnergyForceLoss(
            self.energy if energy is None else replace(self.energy, weight=energy),
            self.forces if forces is None else replace(self.forces, weight=forces),
        )

    @property
    def formula(self) -> str:
        """The loss as text."""
        return f"{self.energy.formula} + {self.forces.formula}"


def structures(
    scales: Scales | None,
    numbers: Tensor,
    owner: Tensor,
    energy_weight: Tensor,
    force_weight: Tensor,
) -> Structures:
    """Count the species of a batch in the order of ``scales``.

    Raises
    ------
    PeslossError
        For a species without scale, and for a structure without atoms.
    """
    n_structures = len(energy_weight)
    if scales is None:
        species = torch.zeros_like(numbers)
        n_species = 1
    else:
        species = species_index(scales, numbers)
        n_species = len(scales.species)
    flat = torch.bincount(owner * n_species + species, minlength=n_structures * n_species)
    composition = flat.view(n_structures, n_species).to(energy_weight.dtype)
    if not bool((composition.sum(dim=1) > 0).all()):
        raise PeslossError(
            "loss: a structure of the batch has no atom; owner must cover all energies"
        )
    return Structures(composition, owner, numbers, species, energy_weight, force_weight)


def species_index(scales: Scales, numbers: Tensor) -> Tensor:
    """Return the place of each atomic number (A,) in ``scales.species``.

    Raises
    ------
    PeslossError
        Naming the first species that is not there.
    """
    table = torch.full((len(chemical_symbols),), -1, dtype=torch.long, device=numbers.device)
    for place, symbol in enumerate(scales.species):
        table[atomic_numbers[symbol]] = place
    found = table[numbers]
    if bool((found < 0).any()):
        name = chemical_symbols[int(numbers[found < 0][0])]
        raise wrong_value("loss", "species", name, scales.species)
    return found


def mean_argument(argument: Tensor, batch: Structures) -> Tensor:
    """Return the mean of (S,) over a batch that a centred energy term subtracts, a scalar.

    Raises
    ------
    PeslossError
        Naming the first weight of a force term that is not positive.
    """
    wrong = batch.force_weight[batch.force_weight <= 0]
    if len(wrong):
        raise wrong_value("loss", "force_weight", float(wrong[0]), "positive, for a centred term")
    weight = batch.energy_weight / batch.force_weight
    return (weight * argument).sum() / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


def reduced(values: Tensor, reduction: Reduction) -> Tensor:
    """Return the mean, the sum or the square root of the mean."""
    if reduction == "sum":
        return values.sum()
    return values.mean().sqrt() if reduction == "root_mean" else values.mean()


def mean_of_means(values: Tensor, members: Tensor) -> Tensor:
    """Return the mean over groups of the means (A,) within each group that occurs."""
    _, group = torch.unique(members, return_inverse=True)
    count = torch.bincount(group).to(values.dtype)
    total = values.new_zeros(len(count)).index_add(0, group, values)
    return (total / count).mean()


def residuals(
    scales: Scales, energy_error: Tensor, numbers: Tensor, owner: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what `EnergyLoss.calibrate` takes: compositions (S, Z) and errors (S,)."""
    batch = structures(scales, numbers, owner, energy_error, energy_error)
    return batch.composition.double().cpu().numpy(), energy_error.detach().double().cpu().numpy()


def energy_force_loss(
    scales: Scales | None = None,
    energy: str | EnergyLoss = "standardized",
    forces: str | ForceLoss = "standardized",
    metric: str = "mse",
    delta: float = 1.0,
    force_weight: float = 1.0,
) -> EnergyForceLoss:
    """Build a loss of the family: the one function that plain torch needs.

    Parameters
    ----------
    scales
        Of the training set; not needed for powers of N.
    energy, forces
        Names of losses, or losses.
    metric, delta
        "mse", "mae" or "huber" with its δ, of both terms.
    force_weight
        Weight of the force term against the energy term.
    """
    return EnergyForceLoss(
        EnergyTerm(
            energy_loss(energy)(scales) if isinstance(energy, str) else energy, metric, delta
        ),
        ForceTerm(
            force_loss(forces)(scales) if isinstance(forces, str) else forces,
            metric,
            delta,
            force_weight,
        ),
    )


def power(exponent: float, **options: Any) -> EnergyTerm:
    """Return the energy term with ``s_k² = N_k^exponent``; options are those of `EnergyTerm`."""
    return EnergyTerm(PowerLoss(exponent=exponent), **options)


def _formula(
    weight: float, reduction: str, index: str, metric: str, delta: float | str, argument: str
) -> str:
    shown = f"{delta:g}" if isinstance(delta, float) else delta
    simple = " " not in argument
    bracketed = argument if simple else f"({argument})"
    value = {
        "mse": f"{bracketed}²",
        "mae": argument if argument.startswith("‖") and simple else f"|{argument}|",
        "huber": f"huber_{shown}({argument})",
    }[metric]
    over = {"mean": f"mean_{index}", "sum": f"Σ_{index}", "root_mean": f"mean_{index}"}[reduction]
    text = f"√({over} {value})" if reduction == "root_mean" else f"{over} {value}"
    return text if weight == 1 else f"{weight:g} {text}"


def _check(
    energy: Tensor,
    forces: Tensor,
    target_energy: Tensor,
    target_forces: Tensor,
    numbers: Tensor,
    owner: Tensor,
) -> None:
    n_structures, n_atoms = target_energy.numel(), numbers.numel()
    wanted = {"(S,)": (n_structures,), "(A,)": (n_atoms,), "(A, 3)": (n_atoms, 3)}
    for name, tensor, shape in (
        ("energy", energy, "(S,)"),
        ("target_energy", target_energy, "(S,)"),
        ("forces", forces, "(A, 3)"),
        ("target_forces", target_forces, "(A, 3)"),
        ("numbers", numbers, "(A,)"),
        ("owner", owner, "(A,)"),
    ):
        if tuple(tensor.shape) != wanted[shape]:
            raise wrong_value(
                "loss", f"shape of {name}", tuple(tensor.shape), f"{shape} = {wanted[shape]}"
            )
