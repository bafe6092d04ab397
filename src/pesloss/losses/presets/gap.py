"""GAP: a sum of squares over the noise that the user states."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "gap": Preset(
        loss=EnergyForceLoss(
            power(1, reduction="sum", unit=0.002), ForceTerm(reduction="sum", unit=0.2)
        ),
        code="GAP (gap_fit)",
        version="25e734c",
        source="gap_fit_module.F90:1147-1169; gap_fit.rst:185",
        exponent=1,
        note="`unit`: σ_E (eV/√atom) and σ_F (eV/Å) of `default_sigma`, here the manual's example; "
        "the prior of the kernel is left out",
    )
}
