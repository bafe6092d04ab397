"""Any energy loss by weights of structures, for codes that read them from their data file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from pesloss.job.errors import wrong_value
from pesloss.losses import energy_loss
from pesloss.scales.isolated_atoms import is_isolated
from pesloss.scales.scales import Scales

if TYPE_CHECKING:
    from pesloss.losses.base import EnergyLoss

Array = NDArray[np.float64]
NAMED = 5  # isolated atoms that are named


def structure_weights(composition: Array, loss: "EnergyLoss", exponent: float) -> Array:
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

    Raises
    ------
    PeslossError
        Naming a structure whose weight is not positive and finite in single precision, which
        codes keep weights in.
    """
    counts = np.asarray(composition, dtype=np.float64)
    return _usable(counts.sum(axis=1) ** exponent / _scale(counts, loss) ** 2)


def _scale(counts: Array, loss: "EnergyLoss") -> Array:
    import torch

    scale = loss.scale(torch.as_tensor(counts, dtype=torch.float64))
    return np.asarray(scale.numpy(), dtype=np.float64)


def _usable(weights: Array, places: Sequence[int] | None = None) -> Array:
    with np.errstate(over="ignore"):
        single = weights.astype(np.float32)
    wrong = np.flatnonzero(~(np.isfinite(single) & (single > 0)))
    if wrong.size:
        k = int(wrong[0])
        where = f"structure {k if places is None else places[k]}"
        allowed = "positive and finite in single precision; see its scales"
        raise wrong_value(where, "weight", float(weights[k]), allowed)
    return weights


@dataclass(frozen=True)
class Code:
    """What a code reads from its data file.

    Attributes
    ----------
    key
        Name in ``info`` of what is written for each structure.
    value
        Gives it from N (S,) and ``s_k`` (S,).
    atoms_key
        Name in ``arrays`` of the scale of each atom's forces, where the code reads one.
    replaced, replaced_of_atoms
        Other names in ``info`` and ``arrays`` that the code would read besides or instead: they
        are taken out, in any case of letters.
    largest
        Largest value that the code takes. Where one is larger, all are divided by a power of ten.
    isolated
        What is written for an isolated atom; None: nothing, the frame is left as it is.
    keeps_isolated
        Whether frames of isolated atoms stay in the file.
    label_keys
        Keys of labels in lower case, where a code takes no others.
    about, about_isolated
        What a user has to know, a sentence each.
    """

    key: str
    value: Callable[[Array, Array], Array]
    about: str
    about_isolated: str
    atoms_key: str = ""
    replaced: tuple[str, ...] = ()
    replaced_of_atoms: tuple[str, ...] = ()
    largest: float = np.inf
    isolated: float | None = None
    keeps_isolated: bool = True
    label_keys: tuple[str, ...] = ()


MACE = Code(
    "config_energy_weight",
    lambda n, s: (n / s) ** 2,
    replaced=("config_weight",),
    about="MACE multiplies (ΔE/N)² by config_energy_weight and config_weight with --loss weighted, "
    "stress or virials; other losses of its use it otherwise or not at all",
    about_isolated="left as they are: MACE takes E0 from those with config_type=IsolatedAtom and "
    "trains on others",
)
"""mace/modules/loss.py:58-68, 120-135; mace/data/utils.py:187-196, 321-345 (0.3.15, 667eee4)."""

GAP = Code(
    "energy_sigma",
    lambda n, s: s,
    atoms_key="force_atom_sigma",
    replaced_of_atoms=("force_component_sigma",),
    about="gap_fit divides ΔE by energy_sigma as it is and force components by force_atom_sigma",
    about_isolated="left as they are: gap_fit takes e0 from them (e0_method=isolated) and stops "
    "where a species has two",
)
"""gap_fit_module.F90:1012-1017, 1147-1155, 1194, 1214-1238, 1518-1530; gp_fit.F90:1996 (25e734c).

The names hold while gap_fit's ``sigma_parameter_name`` is left at ``sigma``.
"""

NEP = Code(
    "energy_weight",
    lambda n, s: (n / s) ** 2,
    replaced=("weight",),
    isolated=0.0,
    label_keys=("energy", "force", "forces"),
    about="NEP of GPUMD 4.0 and later multiplies (ΔE/N − mean)² by energy_weight; forces and "
    "virials stay as they are; GPUMD before 4.0 ignores it: --older-nep",
    about_isolated="get energy_weight=0, which takes them out of NEP's loss: it has no E0",
)
"""GPUMD v5.6 src/main_nep/structure.cu:196-263 (any case of letters; the last one counts),
dataset.cu:853, 887-888, 912-938; the same in v4.0, dataset.cu:716-766."""

NEP_OLDER = Code(
    "weight",
    lambda n, s: n / s,
    replaced=("energy_weight",),
    largest=100.0,
    keeps_isolated=False,
    label_keys=("energy", "force", "forces"),
    about="NEP multiplies errors of energies, forces and virials by weight: squared errors of "
    "forces count (N/s_k)² times as much as without, more the larger the structure",
    about_isolated="are left out of the file: NEP has no E0 and no weight of zero",
)
"""GPUMD v3.9.5 src/main_nep/structure.cu:181-190 (0 < weight ≤ 100), dataset.cu:422, 508-550;
the same weight in v3.0 to v5.6."""

CODES: dict[str, Code] = {"gap": GAP, "mace": MACE, "nep": NEP, "nep_older": NEP_OLDER}


def weighted(
    structures: Sequence[Atoms], scales: Scales, code: str, loss: str = "standardized"
) -> list[Atoms]:
    """Return copies of ``structures`` that carry the weights under the names of a code.

    Parameters
    ----------
    structures
        As read from the data file; labels are kept. Isolated atoms
        (`pesloss.scales.isolated_atoms`) get what the code wants of them, no weight of their
        composition.
    scales
        Of the training set, also for validation and test structures.
    code
        "gap", "mace", "nep" or, for GPUMD before 4.0, "nep_older".
    loss
        Name of the energy loss that the code shall minimise.

    Raises
    ------
    PeslossError
        For an unknown code, loss or species, and as `structure_weights`.
    """
    if code not in CODES:
        raise wrong_value("weights", "code", code, CODES)
    chosen = CODES[code]
    values = _values(structures, scales, chosen, loss)
    divisor = _divisor(values, chosen)
    copies = []
    for k, atoms in enumerate(structures):
        copy = atoms.copy()
        copy.calc = atoms.calc
        if k in values:
            _write(copy, chosen, values[k] / divisor, scales)
        elif chosen.isolated is not None:
            copy.info[chosen.key] = chosen.isolated
        if k in values or chosen.keeps_isolated:
            copies.append(copy)
    return copies


def notes(
    structures: Sequence[Atoms], scales: Scales, code: str, loss: str = "standardized"
) -> list[str]:
    """Say what there is to know of the result of `weighted`, a sentence each.

    What the code makes of the weights; which isolated atoms there are and what becomes of them;
    which names of the file are replaced; by what all weights are divided. Arguments and errors
    as of `weighted`.
    """
    chosen = CODES[code]
    values = _values(structures, scales, chosen, loss)
    lines = [chosen.about]
    alone = [k for k in range(len(structures)) if k not in values]
    if alone:
        named = [f"frame {k} ({structures[k].symbols[0]})" for k in alone[:NAMED]]
        lines.append(
            f"{len(alone)} isolated atoms ({', '.join(named)}{' …' if len(alone) > NAMED else ''}) "
            f"{chosen.about_isolated}"
        )
    others = Counter(name for k in values for name in _others(structures[k], chosen, scales))
    for name, count in sorted(others.items()):
        lines.append(f"{name} of {count} frames is taken out: {_code_name(code)} would read it too")
    divisor = _divisor(values, chosen)
    if divisor > 1:
        lines.append(
            f"all {chosen.key} are divided by {divisor:g}: the largest would be "
            f"{max(values.values()):.4g}, and {chosen.largest:g} is the most the code takes"
        )
    return lines


def _code_name(code: str) -> str:
    return {"gap": "gap_fit", "mace": "MACE"}.get(code, "NEP")


def _values(structures: Sequence[Atoms], scales: Scales, code: Code, loss: str) -> dict[int, float]:
    """Return what is to be written, by the place of the structure; isolated atoms have none."""
    places = [k for k, atoms in enumerate(structures) if not is_isolated(atoms)]
    if not places:
        return {}
    counts = scales.composition([structures[k] for k in places], places).astype(np.float64)
    with np.errstate(over="ignore", divide="ignore"):
        values = code.value(counts.sum(axis=1), _scale(counts, energy_loss(loss)(scales)))
    return dict(zip(places, _usable(values, places).tolist(), strict=True))


def _divisor(values: Mapping[int, float], code: Code) -> float:
    over = max(values.values(), default=0.0) / code.largest
    return 1.0 if over <= 1 else float(10 ** np.ceil(np.log10(over)))


def _write(atoms: Atoms, code: Code, value: float, scales: Scales) -> None:
    for name in _others(atoms, code, scales):
        atoms.info.pop(name, None)
        atoms.arrays.pop(name, None)
    atoms.info[code.key] = value
    if code.atoms_key and scales.force_scale:
        eta = dict(zip(scales.species, scales.force_scale, strict=True))
        of = {atomic_numbers[symbol]: value for symbol, value in eta.items()}
        atoms.arrays[code.atoms_key] = np.array([of[z] for z in atoms.numbers.tolist()])


def _others(atoms: Atoms, code: Code, scales: Scales) -> list[str]:
    """Return what a frame has already, in any case of letters, that the code would read too."""
    of_frame = {code.key, *code.replaced}
    of_atoms = {code.atoms_key, *code.replaced_of_atoms} if scales.force_scale else set()
    found = [name for name in atoms.info if str(name).lower() in of_frame]
    return found + [name for name in atoms.arrays if name.lower() in of_atoms]
