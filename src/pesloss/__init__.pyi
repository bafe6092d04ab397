from pesloss import inference, losses, statistics
from pesloss.adapters.weights import weighted
from pesloss.errors import PeslossError
from pesloss.inference import Estimate, decide, exponent_of, fit_exponent
from pesloss.losses.presets import preset, presets
from pesloss.losses.terms import EnergyForceLoss, energy_force_loss, power
from pesloss.scales import Scales
from pesloss.statistics import EnergyStandardizer, ForceStandardizer
from pesloss.statistics.scales import fit_structures

__all__ = [
    "EnergyForceLoss",
    "EnergyStandardizer",
    "Estimate",
    "ForceStandardizer",
    "PeslossError",
    "Scales",
    "decide",
    "energy_force_loss",
    "exponent_of",
    "fit_exponent",
    "fit_structures",
    "inference",
    "losses",
    "power",
    "preset",
    "presets",
    "statistics",
    "weighted",
]
