from pesloss import inference, losses, scales
from pesloss.adapters.weights import weighted
from pesloss.inference import Estimate, decide, exponent_of, fit_exponent
from pesloss.job.errors import PeslossError
from pesloss.losses.presets import preset, presets
from pesloss.losses.terms import EnergyForceLoss, energy_force_loss, power
from pesloss.scales.energy import EnergyStandardizer
from pesloss.scales.forces import ForceStandardizer
from pesloss.scales.scales import Scales
from pesloss.scales.training_set import fit_structures

_MODULES: tuple[str, ...]
_PLACES: dict[str, str]

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
    "scales",
    "weighted",
]
