"""DeePMD-kit: energies over N at first, forces foremost."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

_SOURCE = "deepmd/pt/loss/ener.py:274-330; argcheck.py:4496-4522"
_NOTE = (
    "weights at the start of training; as the learning rate falls to nothing they go to 1 and 1: "
    "`w = limit + (start − limit) · rate / first rate`"
)
_FORCES = ForceTerm(average="structures", weight=1000)

PRESETS = {
    "deepmd": Preset(
        loss=EnergyForceLoss(power(1, weight=0.02), _FORCES),
        code="DeePMD-kit",
        version="3.2.0b0",
        source=_SOURCE,
        exponent=1,
        note=_NOTE,
    ),
    "deepmd_intensive": Preset(
        loss=EnergyForceLoss(power(2, weight=0.02), _FORCES),
        code="DeePMD-kit `intensive_ener_virial`",
        version="3.2.0b0",
        source=_SOURCE,
        exponent=2,
        note=_NOTE,
    ),
}
