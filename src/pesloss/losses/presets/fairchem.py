"""fairchem (UMA, eSEN): absolute errors of energies per atom, lengths of force errors."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "fairchem": Preset(
        loss=EnergyForceLoss(
            power(2, metric="mae", weight=20), ForceTerm(metric="mae", of="vectors", weight=2)
        ),
        code="fairchem UMA, conserving",
        version="core-2.21.0",
        source="core/modules/loss.py:107-126, 199-238; uma_sm_conserve_finetune.yaml:37-41",
        exponent=2,
        note="set `unit` of both terms to the force RMS it divides by; stress left out",
    )
}
