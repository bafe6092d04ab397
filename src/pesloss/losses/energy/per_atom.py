"""Squared error of the energy per atom."""

from pesloss.losses.base import PowerLoss


class Loss(PowerLoss):
    """``s_k² = N_k²`` (p = 2). Most codes use it: MACE, NequIP, graph-pes, CHGNet and others."""

    exponent = 2
