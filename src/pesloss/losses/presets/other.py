"""Codes that differ from the others in one thing each."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "torchmdnet": Preset(
        loss=EnergyForceLoss(power(0), ForceTerm()),
        code="TorchMD-Net",
        version="3.0.3",
        source="torchmdnet/module.py:200-293; scripts/train.py:80-82",
        exponent=0,
        note="examples take 1 : 100 (ANI) and 1 : 10 (SPICE)",
    ),
    "physnet": Preset(
        loss=EnergyForceLoss(power(0, metric="mae"), ForceTerm(metric="mae", weight=52.9177)),
        code="PhysNet",
        version="e243e2c",
        source="train.py:56, 230",
        exponent=0,
    ),
    "apax": Preset(
        loss=EnergyForceLoss(power(1), ForceTerm(of="vectors", average="structures")),
        code="apax",
        version="0.14.0",
        source="apax/train/loss.py:199-231; config/train_config.py:273-300",
        exponent=1,
        note="exponent is a setting; forces: the sum over atoms and components over N",
    ),
    "nep": Preset(
        loss=EnergyForceLoss(
            power(2, reduction="root_mean", centred=True), ForceTerm(reduction="root_mean")
        ),
        code="NEP (GPUMD)",
        version="5.6",
        source="src/main_nep/dataset.cu:630-668, 823-950; fitness.cu:179-180, 442-471",
        exponent=2,
        note="⟨⟩: mean over the batch by `energy_weight`, subtracted in training only, then added "
        "to the model's bias; `energy_weight`: the file's weight² · energy_weight; `force_weight`: "
        "its weight²; virials and regularisation left out",
    ),
}
