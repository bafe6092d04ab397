"""CHGNet and MatGL: energies per atom against forces, 1:1."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "chgnet": Preset(
        loss=EnergyForceLoss(power(2), ForceTerm()),
        code="CHGNet",
        version="0.4.1",
        source="chgnet/trainer/trainer.py:719-826",
        exponent=2,
        note="stress and magnetic moments, 0.1 each, left out",
    ),
    "matgl": Preset(
        loss=EnergyForceLoss(power(2), ForceTerm()),
        code="MatGL",
        version="2.0.4",
        source="matgl/utils/_training_pyg.py:272-274, 493",
        exponent=2,
        note="stress has weight 0",
    ),
}
