"""Which of two losses has the smaller error on the same structures and seeds? (C8)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures._options import choose
from pesloss.claims.runs import Comparison, families
from pesloss.evaluation.score import score_of_means, score_terms
from pesloss.inference import mean_over_seeds, seed_means

TITLE = "log ratio of errors"
WORDS = {
    "of=energy": "(energies)",
    "of=energy_per_atom": "(energies per atom)",
    "of=forces": "of forces",
    "of=score": "(energies and forces)",
    "against=standardized": "against standardized",
    "against=per_atom": "against 1/N",
    "against=raw": "against raw",
    "weights=all": "at all weights",
}
EXPECTED = 0
MARGIN = 0.095
WHY = (
    "Logarithms of errors: 0 is no difference between the losses. 0.095 = log 1.1 is ten per cent."
)
SCOPE = "runs"
REFERENCE = "standardized"
LOSS_FILES = Path(__file__).parents[2] / "losses" / "energy"
OTHERS = sorted({path.stem for path in LOSS_FILES.glob("[!_]*.py")} - {REFERENCE})
OPTIONS = {
    "of": ("energy", "energy_per_atom", "forces", "score"),
    "against": (REFERENCE, *OTHERS),
    "weights": ("best", "all"),
}
Metric = Callable[[Array], Array]
Trained = tuple[str, float]
"""An energy loss and a force weight."""


def measure(
    data: Comparison, options: Mapping[str, Any], sampling: Sampling
) -> Iterator[Measurement | NotMeasurable]:
    """Yield ``log(RMSE / RMSE of the loss it is compared with)`` on test structures.

    Below 0: smaller errors than the loss named by ``against``. The logarithm is taken seed by seed
    and averaged, so that no seed that failed outweighs the others. Both losses have the same seeds
    and structures, which are drawn together. With ``weights: best`` each stands at its own best
    force weight on validation data; with ``weights: all`` at equal weights, averaged over them.

    ``of: energy`` is the RMSE of ΔE, ``energy_per_atom`` that of ΔE/N, ``forces`` that of all
    force components; ``score`` the difference of `pesloss.claims.runs.score`, by which best
    weights are chosen too.
    """
    chosen = choose(options, OPTIONS, "paired_difference")
    reference = chosen["against"]
    if reference not in data.losses:
        raise NotMeasurable(f"{data.dataset}: no run of loss {reference}")
    at_best = chosen["weights"] == "best"
    group = families(data.tested())
    for loss in [name for name in data.losses if name != reference]:
        weights = (
            [(data.best_weight(loss), data.best_weight(reference))]
            if at_best
            else [(weight, weight) for weight in data.force_weights]
        )
        compared = [((loss, one), (reference, two)) for one, two in weights]
        yield sampling.interval(
            log_ratio(data, chosen["of"], compared),
            group,
            len(data.of(loss, weights[0][0])),
            loss=loss,
            group=f"against {reference}",
            force_weight=weights[0][0] if at_best else None,
        )


def log_ratio(data: Comparison, of: str, pairs: Sequence[tuple[Trained, Trained]]) -> Metric:
    """Return the mean log ratio of errors, (B,), as a function of weights (B, n_seeds, K).

    Parameters
    ----------
    data
        Runs that may be compared.
    of
        As the option of `measure`.
    pairs
        Each a loss and its force weight, and those it is compared with; averaged over pairs.
    """
    errors = [tuple(log_error(data, *one, of) for one in pair) for pair in pairs]

    def statistic(cells: Array) -> Array:
        differences = [own(cells) - other(cells) for own, other in errors]
        return mean_over_seeds(np.mean(differences, axis=0), cells)

    return statistic


def log_error(data: Comparison, loss: str, force_weight: float, of: str) -> Metric:
    """Return the log error of each seed (B, n_seeds) as a function of weights (B, n_seeds, K)."""
    tables = [result.split("test") for result in data.of(loss, force_weight)]
    terms = np.stack([score_terms(table) for table in tables], axis=1)

    def means(cells: Array) -> Array:
        return np.stack([seed_means(term, cells) for term in terms])

    if of == "score":
        return lambda cells: score_of_means(means(cells))
    if of == "forces":
        return lambda cells: np.asarray(
            0.5 * np.log(seed_means(terms[3], cells) / seed_means(terms[4], cells))
        )
    place = {"energy": 0, "energy_per_atom": 2}[of]
    return lambda cells: np.asarray(0.5 * np.log(seed_means(terms[place], cells)))
