"""metatrain: predictions and targets divided by N before the metric."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "metatrain": Preset(
        loss=EnergyForceLoss(power(2), ForceTerm()),
        code="metatrain",
        version="2026.4.1",
        source="metatrain/utils/per_atom.py:8-93; utils/loss.py",
        exponent=2,
        note="in units of the RMS of the energy per atom, which its scaler divides by",
    ),
    "metatrain_huber": Preset(
        loss=EnergyForceLoss(power(2, metric="huber"), ForceTerm(metric="huber")),
        code="metatrain `huber`",
        version="2026.4.1",
        source="metatrain/utils/loss.py",
        exponent=2,
        note="δ = 1 in scaled units",
    ),
}
