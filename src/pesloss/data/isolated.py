"""Isolated atoms in a set of structures: reference energies (E0), and no structures to train on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from pesloss.data.label_units import EV

SAME_ENERGY = 1e-3  # eV; reference energies of one species that agree to this are one
MOST_COHESIVE = 15.0  # eV/atom; tungsten, the most cohesive element, has 8.9
SAME_SCALE = 1.25  # ratio of two energies that are the same but for the bonds


def reference_energies(frames: Sequence[Atoms]) -> dict[str, float]:
    """Return E0 of each species, eV, of frames of isolated atoms with energies.

    Of several energies of one species the lowest counts: the others are excited or charged.
    `differing` tells of them.
    """
    return {symbol: min(energies) for symbol, energies in _by_species(frames).items()}


def differing(frames: Sequence[Atoms]) -> list[str]:
    """Return a sentence for each species whose reference energies do not agree."""
    return [
        f"{symbol}: {len(energies)} isolated atoms with energies from {min(energies):.4f} to "
        f"{max(energies):.4f} eV; the lowest is taken as E0"
        for symbol, energies in _by_species(frames).items()
        if max(energies) - min(energies) > SAME_ENERGY
    ]


def _by_species(frames: Sequence[Atoms]) -> dict[str, list[float]]:
    energies: dict[str, list[float]] = defaultdict(list)
    for atoms in frames:
        energies[str(atoms.symbols[0])].append(float(atoms.calc.results["energy"]))
    return dict(energies)


def compared_with_means(
    e0: Mapping[str, float],
    species: Sequence[str],
    mean: Sequence[float],
    mean_se: Sequence[float | None],
) -> list[str]:
    """Compare reference energies with fitted mean local energies, a line for each species.

    Parameters
    ----------
    e0
        Energies of isolated atoms by symbol, eV.
    species, mean, mean_se
        (Z,) symbols, μ and its standard error, eV; None or NaN where the data leave μ open.

    Returns
    -------
    A line for each species with an E0, then one for those without. An atom is bound, so μ should
    lie below E0 by the energy of cohesion; a line says so where it does not, and where the
    difference looks like a mistake of units or sign.
    """
    known = [s for s in species if s in e0]
    values = {s: (m, se) for s, m, se in zip(species, mean, mean_se, strict=True)}
    lines = [_compared(symbol, e0[symbol], *values[symbol]) for symbol in known]
    without = [s for s in species if s not in e0]
    if known and without:
        lines.append(f"{', '.join(without)}: no isolated atom, so no E0 to compare with")
    return lines


def _compared(symbol: str, e0: float, mean: float, se: float | None) -> str:
    fixed = se is not None and np.isfinite(se)
    error = f" ± {se:.2g}" if fixed else ""
    line = f"{symbol}: E0 {e0:.4f} eV, μ {mean:.4f}{error} eV, μ − E0 {mean - e0:+.4f} eV"
    if not fixed:
        return f"{line}; the structures do not fix μ of {symbol}, so nothing follows"
    assert se is not None
    doubt = _doubt(e0, mean, se)
    return f"{line}; {doubt}" if doubt else f"{line} (cohesion)"


def _doubt(e0: float, mean: float, se: float) -> str | None:
    """Say what the difference looks like when it is no energy of cohesion."""
    if e0 == 0:
        return "E0 is zero: no energy of an atom, or energies are relative to atoms"
    if -MOST_COHESIVE - 3 * se <= mean - e0 <= 3 * se:
        return None
    ratio = mean / e0
    for unit, factor in EV.items():
        for named, value in ((f"E0 in {unit}", factor), (f"the structures in {unit}", 1 / factor)):
            if unit != "eV" and 1 / SAME_SCALE < ratio / value < SAME_SCALE:
                return f"looks like {named} and the other in eV"
    if 1 / SAME_SCALE < -ratio < SAME_SCALE:
        return "the signs differ"
    if mean > e0:
        return "μ above E0: atoms that are not bound, or another reference, sign or unit"
    return f"more than {MOST_COHESIVE:g} eV of cohesion: another reference or unit"
