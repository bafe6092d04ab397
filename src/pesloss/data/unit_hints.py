"""What lengths and energies by themselves say of their units: hints, where forces cannot tell."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii

from pesloss.data.geometry import near_pairs, unfit_cell, unfit_species
from pesloss.data.label_units import ANGSTROM, EV

__all__ = ["about_energies", "about_lengths"]

Floats = npt.NDArray[np.float64]
NOBLE = (2, 10, 18, 36, 54, 86, 118)  # bound by no bonds, whatever their distance
FRAMES = 100  # that are looked at, evenly spread
REACH = 2.6  # of the sum of covalent radii
FARTHEST = 8.0  # Å
LENGTHS = {"Bohr": 1 / ANGSTROM["Bohr"], "nm": 0.1}  # in 1 Å
USUAL = (0.7, 1.6)  # nearest distance over the sum of covalent radii
CLOSE = 0.04  # relative difference from the energy of free atoms: of bonds, and of the series
ALIKE = 0.015  # relative spread of it: bonds are a small part of the energy of all electrons
LIGHTEST = 3  # atomic number from which the series below is good to a few per cent


def about_lengths(frames: Sequence[Atoms]) -> list[str]:
    """Compare distances of nearest neighbours with covalent radii, in a line where they differ.

    Most nearest neighbours are bonded, whatever the matter, and bonds are within a third of the
    sum of the covalent radii (Cordero et al., Dalton Trans. 2832, 2008). A line needs nine atoms
    in ten to be further apart or closer. Atoms of noble gases do not count.
    """
    ratios = [_nearest(atoms) for atoms in _some(frames)]
    known = np.concatenate([r for r in ratios if len(r)]) if any(map(len, ratios)) else np.zeros(0)
    if not len(known):
        return []
    low, median, high = (float(value) for value in np.percentile(known, [10, 50, 90]))
    if low <= USUAL[1] and high >= USUAL[0]:
        return []
    looks = {said: median / factor for said, factor in _lengths()}
    fitting = {k: abs(np.log(v)) for k, v in looks.items() if USUAL[0] <= v <= USUAL[1]}
    if not fitting:
        return []
    return [
        f"nearest neighbours are {median:.3g} times the sum of covalent radii apart (median; "
        f"usual: {USUAL[0]:g} to {USUAL[1]:g}): {min(fitting, key=fitting.__getitem__)}"
    ]


def _lengths() -> Iterator[tuple[str, float]]:
    """Yield units and by how much lengths in them, taken for Å, are too long."""
    for unit, factor in LENGTHS.items():
        yield f"coordinates look like {unit}", factor
    yield "coordinates look like Å that were turned into Å from Bohr", ANGSTROM["Bohr"]


def _some(frames: Sequence[Atoms]) -> list[Atoms]:
    """Return frames evenly spread over all, but for those whose neighbours cannot be listed."""
    places = np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).astype(int)
    chosen = [frames[i] for i in places.tolist()]
    return [a for a in chosen if not (unfit_species(a) or unfit_cell(a, FARTHEST))]


def _nearest(atoms: Atoms) -> Floats:
    """Return the least distance over the sum of covalent radii of each atom that has one near."""
    radii = covalent_radii[atoms.numbers]
    first, second, distance = near_pairs(atoms, min(2 * REACH * float(radii.max()), FARTHEST))
    noble = np.isin(atoms.numbers, NOBLE)
    bonded = ~(noble[first] | noble[second])
    relative = (distance / (radii[first] + radii[second]))[bonded]
    least: Floats = np.full(len(atoms), np.inf)
    np.minimum.at(least, first[bonded], relative)
    return np.asarray(least[np.isfinite(least)])


def about_energies(frames: Sequence[Atoms]) -> list[str]:
    """Compare energies with those of all electrons of free atoms, in a line where units are off.

    Total energies of all electrons are within a few per cent of ``Σ E_Z`` whatever the bonds, and
    so known in any unit. Energies of other kinds (of valence electrons, of cohesion) match none,
    and nothing is said of them.
    """
    found = [_against_atoms(atoms) for atoms in frames if atoms.numbers.max() >= LIGHTEST]
    if not found:
        return []
    low, median, high = np.percentile(found, [25, 50, 75])
    if high - low > ALIKE * abs(median):
        return []
    for said, factor in _energies():
        if abs(median / factor - 1) <= CLOSE:
            return [
                f"energies are {median:.4g} times those of all electrons of the free atoms "
                f"(median): {said}"
            ]
    return []


def _against_atoms(atoms: Atoms) -> float:
    free = EV["Hartree"] * float(_all_electrons(atoms.numbers).sum())
    return float(atoms.calc.results["energy"]) / free


def _all_electrons(number: npt.NDArray[np.int_]) -> Floats:
    """Return about the energy of a neutral atom with all electrons, Hartree.

    Thomas–Fermi energy with the corrections of Scott and Schwinger (J. Schwinger, Phys. Rev. A 24,
    2353, 1981); within 2 % of Hartree–Fock from beryllium, 4 % for lithium.
    """
    z = number.astype(float)
    return np.asarray(-0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3))


def _energies() -> Iterator[tuple[str, float]]:
    """Yield mistakes, and by what energies in eV are multiplied by them; signs come last."""
    for unit, ev in EV.items():
        if unit != "eV":
            yield f"they look like {unit}", 1 / ev
            yield f"they look like eV that were turned into eV from {unit}", ev
    yield "their sign looks wrong", -1.0
