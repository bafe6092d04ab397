"""Squared error of the total energy, whatever the size."""

from pesloss.losses.base import PowerLoss


class Loss(PowerLoss):
    """``s_k² = 1`` (p = 0). SchNetPack, n2p2 and TorchMD-Net use it."""

    exponent = 0
