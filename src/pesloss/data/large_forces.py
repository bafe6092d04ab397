"""A few frames whose forces are all that a mean square of forces shows."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

FEW = 50  # one frame in so many may rule a mean square
RULED = 2.0  # times the RMS force of the others: the RMS of all is ruled by the few
BEYOND = 10.0  # times the RMS force of the others: the few are of another kind
NAMED = 3


def about_large_forces(frames: Sequence[Atoms], names: Sequence[str]) -> list[str]:
    """Name the few frames without which the RMS force would be less than half.

    Parameters
    ----------
    frames
        With forces, eV/Å; those without are passed over.
    names
        What to call them.

    Returns
    -------
    One sentence, or none: at most one frame in fifty, but at least one of ten, with more than ten
    times the RMS force of the others, that makes the RMS of all more than twice theirs.
    """
    found = [i for i, atoms in enumerate(frames) if "forces" in atoms.calc.results]
    squares = np.array([float((frames[i].calc.results["forces"] ** 2).sum()) for i in found])
    n_values = np.array([3 * len(frames[i]) for i in found])
    if len(found) < 10:
        return []
    order = np.argsort(squares / n_values)[::-1]
    few, others = order[: max(len(found) // FEW, 1)], order[max(len(found) // FEW, 1) :]
    usual = np.sqrt(squares[others].sum() / n_values[others].sum())
    rms = np.sqrt(squares.sum() / n_values.sum())
    far = [i for i in few if np.sqrt(squares[i] / n_values[i]) > BEYOND * usual]
    if not far or rms <= RULED * usual:
        return []
    largest = [np.abs(frames[found[i]].calc.results["forces"]).max() for i in far]
    named = ", ".join(
        f"{names[found[i]]} (up to {force:.4g} eV/Å)"
        for i, force in zip(far[:NAMED], largest, strict=False)
    )
    more = ", …" if len(far) > NAMED else ""
    return [
        f"forces: {len(far)} of {len(found)} structures raise the RMS force from {usual:.3g} to "
        f"{rms:.3g} eV/Å, and η with it: {named}{more}; leave them out if they are not meant"
    ]
