"""Control: the raw loss under another name, so that nothing may differ from it."""

from pesloss.losses.base import PowerLoss

TITLE = "raw (control)"
PLACE = 80


class Loss(PowerLoss):
    """``s_k² = 1``, as the raw loss. No loss to train with: it tests the comparison of losses."""

    exponent = 0
