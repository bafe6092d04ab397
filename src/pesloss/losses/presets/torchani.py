"""TorchANI: energies over the fourth root of N, in Hartree."""

from ase.units import Hartree

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "torchani": Preset(
        loss=EnergyForceLoss(
            power(0.5, unit=Hartree),
            ForceTerm(of="vectors", average="structures", weight=0.1, unit=Hartree),
        ),
        code="TorchANI",
        version="2.6",
        source="examples/training.py:148-180",
        exponent=0.5,
        note="`unit`: one Hartree in eV; the example script, there is no loss in the library",
    )
}
