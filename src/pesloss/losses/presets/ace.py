"""Linear fits: ACEpotentials, MLIP-3 and FitSNAP solve weighted least squares."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "acepotentials": Preset(
        loss=EnergyForceLoss(power(1, reduction="sum", weight=900), ForceTerm(reduction="sum")),
        code="ACEpotentials.jl",
        version="0.10.2",
        source="src/atoms_data.jl:202-218; src/fit_model.jl:17",
        exponent=1,
        note="rows have weights 30/√N and 1, which the squares take to 900 and 1; virials left out",
    ),
    "mlip3": Preset(
        loss=EnergyForceLoss(
            power(1, reduction="sum"), ForceTerm(of="vectors", reduction="sum", weight=0.01)
        ),
        code="MLIP-3",
        version="mirror",
        source="src/basic_trainer.h; src/mlp/mlp_commands.cpp",
        exponent=1,
        note="`wgt_scale_power_energy` may be 0, 1 or 2; stress left out",
    ),
}
