"""Any energy loss by weights of structures, for codes that read them from their data file."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from pesloss.errors import wrong_value
from pesloss.losses import energy_loss
from pesloss.losses.base import EnergyLoss
from pesloss.scales import Scales

Array = NDArray[np.float64]


def structure_weights(composition: Array, loss: EnergyLoss, exponent: float) -> Array:
    """Return what turns a code's energy loss into another: ``N_k^p / s_k²``.

    A code that divides squared errors by ``N_k^p`` and multiplies them by this weight minimises
    ``ΔE_k² / s_k²`` (science.md §3).

    Parameters
    ----------
    composition
        (S, Z) counts in the order of the scales' species.
    loss
        The loss that is wanted.
    exponent
        p of the code; 2 for an energy per atom.

    Returns
    -------
    array
        (S,) one over squared energy for a standardised loss; not normalised.
    """
    counts = torch.as_tensor(composition, dtype=torch.float64)
    weight = counts.sum(dim=1) ** exponent / loss.scale(counts).square()
    return np.asarray(weight.numpy(), dtype=np.float64)


def _mace(atoms: Atoms, scale: float, scales: Scales) -> None:
    """MACE `weighted`: mean of config_energy_weight (ΔE/N)²."""
    atoms.info["config_energy_weight"] = len(atoms) ** 2 / scale**2


def _gap(atoms: Atoms, scale: float, scales: Scales) -> None:
    """gap_fit: residual over the structure's own σ, which it does not scale by N."""
    atoms.info["energy_sigma"] = scale
    if scales.force_scale:
        eta = dict(zip(scales.species, scales.force_scale, strict=True))
        of = {atomic_numbers[symbol]: value for symbol, value in eta.items()}
        atoms.arrays["force_atom_sigma"] = np.array([of[z] for z in atoms.numbers.tolist()])


def _nep(atoms: Atoms, scale: float, scales: Scales) -> None:
    """NEP: weight (ΔE/N)² inside the root; the same weight counts for forces and virials."""
    atoms.info["weight"] = len(atoms) ** 2 / scale**2


CODES: dict[str, Callable[[Atoms, float, Scales], None]] = {"mace": _mace, "gap": _gap, "nep": _nep}


def weighted(
    structures: Sequence[Atoms], scales: Scales, code: str, loss: str = "standardized"
) -> list[Atoms]:
    """Return copies of ``structures`` that carry the weights under the names of a code.

    Parameters
    ----------
    structures
        As read from the data file; labels are kept.
    scales
        Of the training set, also for validation and test structures.
    code
        "mace", "gap" or "nep".
    loss
        Name of the energy loss that the code shall minimise.

    Raises
    ------
    PeslossError
        For an unknown code, loss or species.
    """
    if code not in CODES:
        raise wrong_value("weights", "code", code, CODES)
    counts = torch.as_tensor(scales.composition(structures), dtype=torch.float64)
    scale = energy_loss(loss)(scales).scale(counts).tolist()
    copies = []
    for atoms, value in zip(structures, scale, strict=True):
        copy = atoms.copy()
        copy.calc = atoms.calc
        CODES[code](copy, value, scales)
        copies.append(copy)
    return copies
