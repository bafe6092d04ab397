"""MACE: errors of energies per atom, and far more weight on forces."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

_VERSION = "0.3.16"

PRESETS = {
    "mace_weighted": Preset(
        loss=EnergyForceLoss(power(2), ForceTerm(weight=100)),
        code="MACE `weighted`",
        version=_VERSION,
        source="mace/modules/loss.py:58-68, 120-135, 246-263; tools/arg_parser.py:752-812",
        exponent=2,
        note="`energy_weight`: config_weight · config_energy_weight; `force_weight` likewise",
    ),
    "mace_huber": Preset(
        loss=EnergyForceLoss(
            power(2, metric="huber", delta=0.01), ForceTerm(metric="huber", delta=0.01, weight=100)
        ),
        code="MACE `huber`",
        version=_VERSION,
        source="mace/modules/loss.py:325",
        exponent=2,
        note="weights of configurations are not used; δ in eV/atom and eV/Å; stress left out",
    ),
    "mace_universal": Preset(
        loss=EnergyForceLoss(
            power(2, metric="huber", delta=0.01, weigh_argument=True),
            ForceTerm(metric="huber", delta=0.01, weight=100, regimes=True, weigh_argument=True),
        ),
        code="MACE `universal`",
        version=_VERSION,
        source="mace/modules/loss.py:211-238, 391",
        exponent=2,
        note="weights multiply the argument; δ × 1, 0.7, 0.4, 0.1 at ‖F‖ < 100, 200, 300 eV/Å; "
        "stress left out",
    ),
}
