"""How do bias and spread of errors grow with size, each by itself? (C7)."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from pesloss.claims.measurement import Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._bias import BY, Parts
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import Comparison

TITLE = "exponent of"
WORDS = {
    "part=spread": "spread",
    "part=bias": "bias",
    "by=phase": "by phase",
    "by=composition_group": "by composition",
}
EXPECTED = {"part=bias": 1, "": 0.5}
MARGIN = 0.1
WHY = {
    "part=bias": (
        "A bias that is the same for every atom grows with 1. 0.1 is a fifth of the distance "
        "between ½ and 1; over two decades of size it makes a factor 1.6."
    ),
    "": (
        "The proposal's errors are independent: their spread grows with ½. 0.1 is a fifth of the "
        "distance between ½ and 1; over two decades of size it makes a factor 1.6."
    ),
}
SCOPE = "runs"
OPTIONS = {"part": ("spread", "bias"), "by": BY}


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield the exponent of the spread or of the bias of ``ΔE`` over size groups.

    The bias is an error per atom that the structures of a size group share, with ``by`` those of
    one phase or composition group of it, expected to be the same at all sizes: exponent 1. The
    spread is what is left around it, expected to grow as √N. Each loss stands at its own best
    weight.
    """
    chosen = choose(options, OPTIONS, "error_part_exponent")
    for loss in data.losses:
        weight = data.best_weight(loss)
        parts = Parts.of(data, loss, weight, chosen["by"])
        if len(parts.size_groups) < 2:
            raise NotMeasurable(f"{data.dataset}: one size group")
        yield sampling.interval(
            partial(parts.exponent, part=chosen["part"]),
            parts.families,
            len(parts.error),
            loss=loss,
            force_weight=weight,
        )
