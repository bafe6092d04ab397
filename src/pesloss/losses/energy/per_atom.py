"""Squared error of the energy per atom."""

from pesloss.losses.base import PowerLoss

TITLE = "1/N"
PLACE = 40
COLOUR = "#0072B2"
MARKER = "v"


class Loss(PowerLoss):
    """``s_k² = N_k²`` (p = 2). Most codes use it: MACE, NequIP, graph-pes, CHGNet and others."""

    exponent = 2
