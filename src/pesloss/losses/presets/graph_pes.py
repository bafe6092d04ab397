"""graph-pes: root mean squares over the batch."""

from pesloss.losses.presets import Preset
from pesloss.losses.terms import EnergyForceLoss, ForceTerm, power

PRESETS = {
    "graph_pes": Preset(
        loss=EnergyForceLoss(power(2, reduction="root_mean"), ForceTerm(reduction="root_mean")),
        code="graph-pes",
        version="1.0.2",
        source="graph_pes/training/loss.py:299-347, :125, :101",
        exponent=2,
        note="the root is taken of each batch, so losses of batches do not add up",
    ),
    "graph_pes_realistic": Preset(
        loss=EnergyForceLoss(
            power(2, metric="huber", delta=0.01, weight=10), ForceTerm(metric="huber", delta=0.01)
        ),
        code="graph-pes `realistic.yaml`",
        version="1.0.2",
        source="configs/realistic.yaml",
        exponent=2,
        note="δ in eV/atom and eV/Å",
    ),
}
