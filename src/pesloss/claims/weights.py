"""The best force weight of a loss on a dataset, and what a user would type for it (C11).

Runs are trained at a force weight ``w`` with both terms divided by their constants ``r_E`` and
``r_F`` (``pesloss.training.objective``). Under MSE, and an optimiser that does not know a factor of
the whole loss, such a run is one on ``ΔE²/s² + w_user ΔF²/η²`` with ``w_user = w r_E² / r_F²``: the
weight a user of the loss types. So it is known for every dataset without new trainings. Where the
energy term is in the square of an energy, ``w_user`` is in Å² and no unit of energy changes it; in
bohr it is ``1/0.529²`` times that. The standardized losses have no unit in the energy term, so they
are used with forces over a scale; where the runs have plain forces, that scale is ``r_F``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from ase.units import Bohr
from numpy.typing import NDArray

from pesloss import losses
from pesloss.claims.measurement import HELD_OUT, Array, NotMeasurable
from pesloss.claims.runs import Comparison, Study, families
from pesloss.evaluation.results import RunResult
from pesloss.evaluation.score import score_terms, weighted_score
from pesloss.job.errors import PeslossError

DECADES_TO_BOHR = float(-2 * np.log10(Bohr))
FEWEST_WEIGHTS = 3  # a parabola has three coefficients
N_TRIED = 401  # weights that are tried as the one for all datasets


@dataclass(frozen=True)
class Sweep:
    """One loss on one dataset along J force weights, S seeds and K held-out structures."""

    dataset: str
    loss: str
    log_weights: Array  # (J,) log10 of the force weight of the runs
    shift: float  # what is added to them for log10 of the user's weight, in eV and Å
    has_units: bool  # whether the user's weight depends on the unit of length
    constants: Mapping[str, float]  # r_E and r_F under the keys energy and forces
    terms: Array  # (J, S, 5, K), see score_terms
    validation: NDArray[np.bool_]  # (K,)

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the sweep, log10 of the runs' weights."""
        return float(self.log_weights[0]), float(self.log_weights[-1])

    @property
    def ones(self) -> Array:
        """Equal weights of all seeds and structures, (1, S, K)."""
        return np.ones((1, *self.terms.shape[1::2]))

    @property
    def best_user_weight(self) -> float:
        """log10 of the user's weight that is best on validation structures."""
        return float(self.best(self.ones)[0]) + self.shift

    def scores(self, weights: Array, split: str = "validation") -> Array:
        """Return the score at each force weight, (J, B), from weights (B, S, K) of structures."""
        chosen = self.validation if split == "validation" else ~self.validation
        kept = weights[:, :, chosen]
        return np.stack([weighted_score(terms[:, :, chosen], kept) for terms in self.terms])

    def curve(self, weights: Array, split: str = "validation") -> Array:
        """Return the coefficients (3, B) of the parabola through the scores along log10 w."""
        found = np.polyfit(self.log_weights, self.scores(weights, split), 2)
        return np.asarray(found, dtype=np.float64)

    def best(self, weights: Array) -> Array:
        """Return log10 of the runs' weight where the validation parabola is lowest, (B,)."""
        return lowest(self.curve(weights), *self.limits)


def lowest(curve: Array, low: float, high: float) -> Array:
    """Return where parabolas (3, B) are lowest between ``low`` and ``high``."""
    a, b, _ = curve
    bends_up = a > 0
    vertex = np.divide(-b, 2 * a, out=np.zeros_like(a), where=bends_up)
    ends = np.where(value(curve, low) <= value(curve, high), low, high)
    return np.asarray(np.where(bends_up, np.clip(vertex, low, high), ends), dtype=np.float64)


def value(curve: Array, x: Array | float) -> Array:
    """Evaluate parabolas (3, B) at ``x``."""
    a, b, c = curve
    return np.asarray((a * x + b) * x + c, dtype=np.float64)


def at_edge(x: Array, limits: tuple[float, float]) -> NDArray[np.bool_]:
    """Tell where ``x`` is at an end of the sweep or beyond: the optimum may lie outside."""
    return (x <= limits[0]) | (x >= limits[1])


@dataclass(frozen=True)
class Transfer:
    """One loss on D datasets; ``weights`` are those of all their structures, one after another."""

    sweeps: tuple[Sweep, ...]

    def of_each(self, weights: Array) -> list[Array]:
        """Deal weights (B, S, K) of the joined structures to the datasets."""
        ends = np.cumsum([sweep.terms.shape[-1] for sweep in self.sweeps])
        return np.split(weights, ends[:-1], axis=2)

    def best(self, weights: Array) -> Array:
        """Return log10 of the best runs' weight of each dataset, (D, B)."""
        pairs = zip(self.sweeps, self.of_each(weights), strict=True)
        return np.stack([sweep.best(own) for sweep, own in pairs])

    def users(self, best: Array) -> Array:
        """Return log10 of the user's weight, eV and Å, for runs' weights (D, B)."""
        shifts = np.array([sweep.shift for sweep in self.sweeps], dtype=np.float64)
        return best + shifts[:, None]

    def regrets(self, weights: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return what it costs to use one dataset's best user's weight on another.

        Returns
        -------
        regrets
            (D, D, B): score on the test structures of the second dataset at the first one's best
            user's weight, less that at its own; both weights are chosen on validation structures.
        outside
            (D, D, B): where the weight lies at the end of the second dataset's sweep or beyond, and
            its score was taken at that end.
        """
        best, own = self.best(weights), self.of_each(weights)
        users = self.users(best)
        regrets, outside = [], []
        for sweep, mine, part in zip(self.sweeps, best, own, strict=True):
            curve, taken = sweep.curve(part, "test"), users - sweep.shift
            clipped = np.clip(taken, *sweep.limits)
            regrets.append(value(curve, clipped) - value(curve, mine))
            outside.append(at_edge(taken, sweep.limits))
        return np.stack(regrets, axis=1), np.stack(outside, axis=1)


def transfers(
    comparisons: Sequence[Comparison], same_seeds: bool = True
) -> Iterator[tuple[Comparison, dict[str, Transfer]]]:
    """Yield the datasets of each model, force loss and metric, as one transfer a loss.

    Yields
    ------
    A comparison that says which model it is, and by loss the transfer over all datasets.

    Raises
    ------
    NotMeasurable
        For fewer than two datasets or three force weights, or another metric than MSE.
    PeslossError
        When ``same_seeds`` are asked for and datasets have others.
    """

    def key(data: Comparison) -> tuple[str, ...]:
        return data.model, data.variant, data.force_loss, data.metric

    for _, group in groupby(sorted(comparisons, key=lambda c: (key(c), c.dataset)), key):
        found = list(group)
        _check(found, same_seeds)
        common = [n for n in found[0].losses if all(n in data.losses for data in found)]
        yield (
            found[0],
            {loss: Transfer(tuple(sweep_of(data, loss) for data in found)) for loss in common},
        )


def _check(found: Sequence[Comparison], same_seeds: bool) -> None:
    first = found[0]
    if len(found) < 2:
        raise NotMeasurable(f"{first.dataset}: one dataset alone; a weight transfers between two")
    if first.metric != "mse":
        raise NotMeasurable(f"metric {first.metric}: a user's weight is known for mse alone")
    for data in found:
        if len(data.force_weights) < FEWEST_WEIGHTS:
            n = len(data.force_weights)
            raise NotMeasurable(f"{data.dataset}: {n} force weights; needed: {FEWEST_WEIGHTS}")
        seeds = [sorted({result.run.seed for result in c.results}) for c in (first, data)]
        if same_seeds and seeds[0] != seeds[1]:
            raise PeslossError(
                f"{data.dataset}: seeds are {seeds[1]}; allowed: {seeds[0]}, those of "
                f"{first.dataset}"
            )


def sweep_of(data: Comparison, loss: str) -> Sweep:
    """Return the runs of one loss along the force weight."""
    runs = [data.of(loss, weight) for weight in data.force_weights]
    terms = [[score_terms(held_out(run)) for run in seeds] for seeds in runs]
    has_units = losses.size_exponent(loss) is not None
    records = [run.record for seeds in runs for run in seeds]
    constants = _constants(records)
    return Sweep(
        data.dataset,
        loss,
        np.log10(data.force_weights),
        _shift(records[0], constants, has_units),
        has_units,
        constants,
        np.array(terms),
        (held_out(runs[0][0]).split == "validation").to_numpy(),
    )


def _constants(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return geometric means: a loss that learns does not end with the same r_E in every run."""
    for record in records:
        if "constants" not in record:
            raise PeslossError(f"{record['run']}: lacks key 'constants'; delete it and run again")
    return {
        term: float(np.exp(np.mean([np.log(record["constants"][term]) for record in records])))
        for term in ("energy", "forces")
    }


def _shift(record: dict[str, Any], constants: Mapping[str, float], has_units: bool) -> float:
    """Return log10 of the user's weight over the runs' weight."""
    if not record["training_settings"]["term_constants"]:
        return 0.0
    energy, forces = (float(2 * np.log10(constants[term])) for term in ("energy", "forces"))
    scaled = not has_units and record["force_loss"] == "raw"
    return energy if scaled else energy - forces


def held_out(run: RunResult) -> pd.DataFrame:
    """Return the errors of validation and test structures, one after the other."""
    return pd.concat([run.split(name) for name in HELD_OUT], ignore_index=True)


def joined_families(data: Study, datasets: Sequence[str]) -> NDArray[np.str_]:
    """Return the families of the held-out structures of datasets, named apart.

    A family in two datasets, a whole and a part of it, is drawn for each of them by itself.
    """
    found = {c.dataset: held_out(c.results[0]) for c in data.comparisons}
    parts = [[f"{name}/{f}" for f in families(found[name])] for name in datasets]
    return np.array([family for part in parts for family in part], dtype=np.str_)


def carried_score(sweep: Sweep, user: float, split: str) -> float:
    """Return the score at a user's weight (log10), or at the end of the sweep nearest to it."""
    x = float(np.clip(user - sweep.shift, *sweep.limits))
    return float(value(sweep.curve(sweep.ones, split), x)[0])


def own_scores(by_loss: Mapping[str, Transfer], split: str) -> Array:
    """Return the score of each loss on each dataset, (L, D), at its own best weight there."""
    return np.array(
        [
            [carried_score(s, s.best_user_weight, split) for s in transfer.sweeps]
            for transfer in by_loss.values()
        ]
    )


def leaders_scores(by_loss: Mapping[str, Transfer], split: str) -> Array:
    """Return the score on each dataset, (D,), of the loss that leads there by validation."""
    leading = own_scores(by_loss, "validation").argmin(axis=0)
    return np.asarray(own_scores(by_loss, split)[leading, np.arange(len(leading))])


def one_for_all(transfer: Transfer) -> float:
    """Return log10 of the user's weight with the lowest mean regret on validation structures."""
    limits = np.array([np.array(sweep.limits) + sweep.shift for sweep in transfer.sweeps])
    tried = np.linspace(limits.min(), limits.max(), N_TRIED)
    total = np.zeros(N_TRIED)
    for sweep in transfer.sweeps:
        curve = sweep.curve(sweep.ones)
        total += value(curve, np.clip(tried - sweep.shift, *sweep.limits))
    return float(tried[np.argmin(total)])
