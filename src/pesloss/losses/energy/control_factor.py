"""Control: the raw loss times a constant, which may change nothing but the rounding."""

from torch import Tensor

from pesloss.losses.base import PowerLoss

TITLE = "raw × 23 (control)"
PLACE = 90
FACTOR = 23.06  # eV to kcal/mol; no power of two, which would carry without any rounding


class Loss(PowerLoss):
    """``s_k² = 23.06²``. No loss to train with: it tests the comparison of losses.

    The objective divides by the root mean square of the labels in units of ``s_k``, so a constant
    cancels but for the last bit, and what that bit grows to in a training is seen.
    """

    exponent = 0

    @property
    def formula(self) -> str:
        """``s_k`` as text."""
        return f"{FACTOR:g}"

    def scale(self, composition: Tensor) -> Tensor:
        """Return ``s_k = 23.06``, shape (S,)."""
        return FACTOR * super().scale(composition)
