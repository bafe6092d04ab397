"""Squared error over the number of atoms."""

from pesloss.losses.base import PowerLoss

TITLE = "1/√N"
PLACE = 30
COLOUR = "#009E73"
MARKER = "^"


class Loss(PowerLoss):
    """``s_k² = N_k`` (p = 1). DeePMD-kit, GAP, ACEpotentials, MLIP-3 and apax use it."""

    exponent = 1
