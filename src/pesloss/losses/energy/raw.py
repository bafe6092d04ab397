"""Squared error of the total energy, whatever the size."""

from pesloss.losses.base import PowerLoss

TITLE = "raw"
PLACE = 10
COLOUR = "#D55E00"
MARKER = "s"


class Loss(PowerLoss):
    """``s_k² = 1`` (p = 0). SchNetPack, n2p2 and TorchMD-Net use it."""

    exponent = 0
