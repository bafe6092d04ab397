"""AIMNet2: energies over the fourth root of N."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "aimnet2": Preset(
        loss=EnergyForceLoss(power(0.5, weight=1 / 1.2), ForceTerm(weight=0.2 / 1.2)),
        code="AIMNet2 (aimnetcentral)",
        version="0.2.0",
        source="aimnet/train/loss.py:59-83; default_train.yaml:65-84",
        exponent=0.5,
        note="1 : 0.2 over their sum, without charges; batches of one size, as it samples",
    )
}
