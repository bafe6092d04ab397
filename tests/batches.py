"""Random batches for tests of whole losses."""

from typing import NamedTuple

import torch
from torch import Tensor

from pesloss.losses.terms import EnergyForceLoss
from pesloss.scales.scales import Scales

SCALES = Scales(
    species=("H", "C", "O"),
    mean=(-13.0, -1030.0, -2040.0),
    local_energy_scale=(0.1, 0.8, 0.4),
    correlated_scale=(0.08, 0.7, 0.3),
    shared_scale=(0.02, 0.05, 0.03),
    structure_scale=0.2,
    force_scale=(0.5, 2.0, 1.2),
)


class Sample(NamedTuple):
    """Arguments of a loss, in its order."""

    energy: Tensor
    forces: Tensor
    target_energy: Tensor
    target_forces: Tensor
    numbers: Tensor
    owner: Tensor

    def times(self, factor: float) -> "Sample":
        """The same batch in another unit of energy."""
        return self._replace(**{name: factor * getattr(self, name) for name in self._fields[:4]})

    def in_order(self, order: list[int]) -> "Sample":
        """The same batch with its structures in another order."""
        atoms = torch.cat([torch.nonzero(self.owner == k)[:, 0] for k in order])
        place = torch.tensor([order.index(k) for k in range(len(order))])
        return Sample(
            self.energy[order],
            self.forces[atoms],
            self.target_energy[order],
            self.target_forces[atoms],
            self.numbers[atoms],
            place[self.owner[atoms]],
        )

    def twice(self) -> "Sample":
        """Every structure two times."""
        doubled = [torch.cat([tensor, tensor]) for tensor in self]
        doubled[5] = torch.cat([self.owner, self.owner + len(self.energy)])
        return Sample(*doubled)


def sample(
    seed: int, sizes: tuple[int, ...] = (3, 1, 7, 12, 4), dtype: torch.dtype = torch.float64
) -> Sample:
    """Random structures of H, C and O; forces up to hundreds of eV/Å so that all regimes occur."""
    rng = torch.Generator().manual_seed(seed)
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)

    numbers = torch.tensor([1, 6, 8])[torch.randint(0, 3, (len(owner),), generator=rng)]
    target_energy, target_forces = 5 * normal(len(sizes)), normal(len(owner), 3)
    target_forces = target_forces * torch.logspace(-1, 2.6, len(owner), dtype=dtype)[:, None]
    return Sample(
        target_energy + 0.05 * normal(len(sizes)),
        target_forces + 0.02 * normal(len(owner), 3),
        target_energy,
        target_forces,
        numbers,
        owner,
    )


def value(loss: EnergyForceLoss, data: Sample) -> float:
    """The loss as a number."""
    return float(loss(*data))
