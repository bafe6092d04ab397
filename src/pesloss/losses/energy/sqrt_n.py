"""Squared error over the number of atoms."""

from pesloss.losses.base import PowerLoss


class Loss(PowerLoss):
    """``s_k² = N_k`` (p = 1). DeePMD-kit, GAP, ACEpotentials, MLIP-3 and apax use it."""

    exponent = 1
