"""SevenNet: energies per atom, a tenth of the weight on forces."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "sevennet": Preset(
        loss=EnergyForceLoss(power(2), ForceTerm(weight=0.1)),
        code="SevenNet",
        version="0.12.1",
        source="sevenn/train/loss.py:83-120, 204-230; _const.py:250-262",
        exponent=2,
        note="stress, 1e-6 in kbar, left out",
    )
}
