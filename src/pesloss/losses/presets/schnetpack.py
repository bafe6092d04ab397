"""SchNetPack: squared errors of totals."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "schnetpack": Preset(
        loss=EnergyForceLoss(power(0, weight=0.01), ForceTerm(weight=0.99)),
        code="SchNetPack",
        version="2.2.0",
        source="src/schnetpack/task.py:59-66, configs/experiment/md17.yaml:47-68",
        exponent=0,
        note="weights of md17.yaml, meant for kcal/mol; the code itself has no default",
    )
}
