"""How much of the error of a size is one bias that its structures share? (C7)."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from pesloss.claims.measurement import Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._bias import BY, Parts
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import Comparison

TITLE = "share of bias in squared error"
WORDS = {"by=phase": "by phase", "by=composition_group": "by composition"}
GROUPS = "size groups"
EXPECTED = 0
MARGIN = 0.2
WHY = (
    "The proposal's errors are independent: no bias. A bias with a fifth of the mean square makes "
    "errors twelve per cent larger than the spread alone."
)
SCOPE = "runs"
OPTIONS = {"by": BY}


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the share of the squared bias in ``⟨ΔE²⟩`` of each size group, on test structures.

    0 where errors scatter around zero, 1 where all alike structures have the same error; a bias
    grows as N and outgrows the spread. With ``by`` a bias of each phase or composition group.
    Each loss stands at its own best weight.
    """
    chosen = choose(options, OPTIONS, "error_bias_share")
    for loss in data.losses:
        weight = data.best_weight(loss)
        parts = Parts.of(data, loss, weight, chosen["by"])
        for name in parts.size_groups:
            mask = (parts.structures.size_group == name).to_numpy()
            one = Parts(
                parts.structures[mask].reset_index(drop=True),
                parts.alike[mask],
                parts.error[:, mask],
            )
            yield sampling.interval(
                partial(one.share, size_group=name),
                one.families,
                len(one.error),
                loss=loss,
                force_weight=weight,
                group=name,
            )
