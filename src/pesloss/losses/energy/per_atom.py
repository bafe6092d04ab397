"""Squared error of the energy per atom."""

from pesloss.losses.base import PowerLoss


class Loss(PowerLoss):
    """``s_k² = N_k²`` (p = 2). MACE, NequIP, graph-pes, metatrain, CHGNet and most others use it."""

    exponent = 2
