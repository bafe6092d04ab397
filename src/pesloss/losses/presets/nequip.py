"""NequIP and Allegro: energies per atom against forces, 1:1."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "nequip": Preset(
        loss=EnergyForceLoss(power(2), ForceTerm()),
        code="NequIP",
        version="0.6.2",
        source="nequip/train/_loss.py:67-108, configs/full.yaml (`PerAtomMSELoss`)",
        exponent=2,
        note="in units of the force RMS, which the trainer divides by",
    ),
    "nequip_per_species": Preset(
        loss=EnergyForceLoss(power(2), ForceTerm(average="species")),
        code="NequIP `PerSpeciesMSELoss`",
        version="0.6.2",
        source="nequip/train/_loss.py:110-173",
        exponent=2,
        note="a mean over the atoms of each species, then over the species of the batch",
    ),
    "nequip_0.7": Preset(
        loss=EnergyForceLoss(power(2, weight=0.5), ForceTerm(weight=0.5)),
        code="NequIP ≥ 0.7 `EnergyForceLoss`",
        version="0.19.0",
        source="nequip/train/metrics_manager.py:451-516",
        exponent=2,
        note="coefficients are divided by their sum",
    ),
}
