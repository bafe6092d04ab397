"""Losses that only test the comparison of losses, told by their name."""

CONTROL = "control_"


def is_control(loss: str) -> bool:
    """Tell a loss that only tests the comparison of losses (``control_…``) from one to train with.

    Controls are left out of figures and of what is offered to users.
    """
    return loss.startswith(CONTROL)
