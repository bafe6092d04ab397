"""ORB: Huber losses of energies per atom and forces over their running deviations."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "orb": Preset(
        loss=EnergyForceLoss(
            power(2, metric="huber", delta=0.01),
            ForceTerm(metric="huber", delta=0.01, regimes=True),
        ),
        code="ORB",
        version="0.6.2",
        source="orb_models/forcefield/models/forcefield_heads.py:100-235; loss.py:39-72, 101-129",
        exponent=2,
        note="set `unit` of each term to the running deviation of (E − reference)/N and of F",
    )
}
