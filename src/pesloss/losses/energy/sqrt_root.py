"""Squared error over the square root of the number of atoms."""

from pesloss.losses.base import PowerLoss

TITLE = "1/∜N"
PLACE = 20
COLOUR = "#E69F00"
MARKER = "<"


class Loss(PowerLoss):
    """``s_k² = N_k^½`` (p = ½). TorchANI's example and AIMNet2 use it."""

    exponent = 0.5
