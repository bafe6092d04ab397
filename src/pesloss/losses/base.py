"""What a loss is: the scale by which an error is divided before the metric."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pesloss.job.errors import PeslossError
from pesloss.scales.scales import Scales


class EnergyLoss(ABC):
    """Energy term of one structure: ``metric(ΔE_k / s_k)``, ``ΔE_k = Ê_k − E_k``.

    A loss is one file in ``pesloss/losses/energy``, known by the name of the file, with a class
    called ``Loss`` that derives from this one. The energy losses of the field differ in nothing
    but ``s_k`` (science.md §3).

    Attributes
    ----------
    given_scales
        What the loss was made with.
    schedule
        Shares of a training after which `calibrate` is called; none for a loss that stays.
    """

    schedule: ClassVar[tuple[float, ...]] = ()

    def __init__(self, scales: Scales | None = None) -> None:
        self.given_scales = scales

    @property
    def formula(self) -> str:
        """``s_k`` as text."""
        return "s_k"

    @property
    def scales(self) -> Scales:
        """The scales of the training set.

        Raises
        ------
        PeslossError
            When the loss was made without.
        """
        if self.given_scales is None:
            name = type(self).__module__.rpartition(".")[2]
            raise PeslossError(
                f"loss {name!r} needs scales: pass fit_scales(…) of the training set"
            )
        return self.given_scales

    @abstractmethod
    def scale(self, composition: Tensor) -> Tensor:
        """Return ``s_k``.

        Parameters
        ----------
        composition
            (S, Z) atoms of each species in each structure, species in the order of
            ``scales.species``.

        Returns
        -------
        Tensor
            (S,) positive; an energy for a standardised loss, otherwise a power of the number of
            atoms.
        """

    def calibrate(self, composition: NDArray[np.float64], residual: NDArray[np.float64]) -> None:
        """Learn from the model's own errors on the training set; see ``schedule``.

        Parameters
        ----------
        composition
            (S, Z) counts.
        residual
            (S,) ``Ê_k − E_k``.

        Raises
        ------
        PeslossError
            Unless the loss learns.
        """
        raise PeslossError(f"loss {type(self).__module__}: there is nothing to calibrate")

    def state_dict(self) -> dict[str, Any]:
        """Return what `calibrate` has learnt, as plain numbers and lists."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` returned.

        Raises
        ------
        PeslossError
            When there is something to go back to and the loss does not learn.
        """
        if state:
            raise PeslossError(f"loss {type(self).__module__}: keys {sorted(state)} are unknown")


class PowerLoss(EnergyLoss):
    """``s_k² = N_k^p`` with one real exponent ``p`` for all structures (science.md §3)."""

    exponent: float

    def __init__(self, scales: Scales | None = None, exponent: float | None = None) -> None:
        super().__init__(scales)
        if exponent is not None:
            self.exponent = exponent

    @property
    def formula(self) -> str:
        """``s_k`` as text."""
        half = self.exponent / 2
        return {0: "1", 0.5: "√N", 1: "N"}.get(half, f"N^{half:g}")

    def scale(self, composition: Tensor) -> Tensor:
        """Return ``s_k = N_k^(p/2)``, shape (S,)."""
        return composition.sum(dim=1) ** (self.exponent / 2)


class ForceLoss(ABC):
    """Force term of one component: ``metric(ΔF_ic / η_i)``.

    A loss is one file in ``pesloss/losses/forces`` with a class called ``Loss``.

    Attributes
    ----------
    formula
        ``η_i`` as text.
    """

    formula: str = "η_i"

    def __init__(self, scales: Scales | None = None) -> None:
        self.given_scales = scales

    @property
    def scales(self) -> Scales:
        """The scales of the training set; raises a PeslossError without them or their η_z."""
        if self.given_scales is None or not self.given_scales.force_scale:
            name = type(self).__module__.rpartition(".")[2]
            raise PeslossError(f"force loss {name!r} needs scales with force_scale")
        return self.given_scales

    @abstractmethod
    def scale(self, species: Tensor) -> Tensor:
        """Return ``η_i``.

        Parameters
        ----------
        species
            (A,) index of each atom's species in ``scales.species``.

        Returns
        -------
        Tensor
            (A,) positive float64; a force for a standardised loss, otherwise 1.
        """
