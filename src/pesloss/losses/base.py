"""What a loss is: the scale by which an error is divided before the metric."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from pesloss.dataset_statistics import DatasetStatistics


class EnergyLoss(ABC):
    """Energy term of one structure: ``metric(ΔE_k / s_k)``, ``ΔE_k = Ê_k − E_k`` in eV.

    A loss is one file in ``pesloss/losses/energy``, known by the name of the file, with a class
    called ``Loss`` that derives from this one. The energy losses of the field differ in nothing
    but ``s_k`` (science.md §3).
    """

    def __init__(self, statistics: DatasetStatistics) -> None:
        self.statistics = statistics

    @abstractmethod
    def scale(self, composition: Tensor) -> Tensor:
        """Return ``s_k``.

        Parameters
        ----------
        composition
            (S, Z) atoms of each species in each structure, species in the order of
            ``statistics.species``.

        Returns
        -------
        Tensor
            (S,) positive; eV for a standardised loss, otherwise a power of the number of atoms.
        """


class PowerLoss(EnergyLoss):
    """``s_k² = N_k^p`` with one exponent ``p`` for all structures (science.md §3)."""

    exponent: ClassVar[float]

    def scale(self, composition: Tensor) -> Tensor:
        """Return ``s_k = N_k^(p/2)``, shape (S,)."""
        return composition.sum(dim=1) ** (self.exponent / 2)


class ForceLoss(ABC):
    """Force term of one component: ``metric(ΔF_ic / η_i)``, mean over atoms and components.

    A loss is one file in ``pesloss/losses/forces`` with a class called ``Loss``.
    """

    def __init__(self, statistics: DatasetStatistics) -> None:
        self.statistics = statistics

    @abstractmethod
    def scale(self, species: Tensor) -> Tensor:
        """Return ``η_i``.

        Parameters
        ----------
        species
            (A,) index of each atom's species in ``statistics.species``.

        Returns
        -------
        Tensor
            (A,) positive; eV/Å for a standardised loss, otherwise 1.
        """


def mse(argument: Tensor, delta: float) -> Tensor:
    """Return ``x²``; ``delta`` is not used."""
    return argument.square()


def mae(argument: Tensor, delta: float) -> Tensor:
    """Return ``|x|``; ``delta`` is not used."""
    return argument.abs()


def huber(argument: Tensor, delta: float) -> Tensor:
    """Return ``x²/2`` where ``|x| ≤ δ`` and ``δ(|x| − δ/2)`` beyond (Huber 1964)."""
    size = argument.abs()
    return torch.where(size <= delta, argument.square() / 2, delta * (size - delta / 2))


METRICS = {"mse": mse, "mae": mae, "huber": huber}
