from pesloss.scales.energy import EnergyStandardizer
from pesloss.scales.forces import ForceStandardizer
from pesloss.scales.scales import Scales
from pesloss.scales.training_set import fit_structures

__all__ = ["EnergyStandardizer", "ForceStandardizer", "Scales", "fit_structures"]
