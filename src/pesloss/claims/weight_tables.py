"""Best force weights and what it costs to carry them over, as tables (C11)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import Array, NotMeasurable
from pesloss.claims.runs import Study
from pesloss.claims.weights import DECADES_TO_BOHR, Sweep, Transfer, at_edge, transfers, value

WEIGHTS = [
    "model", "force_loss", "energy_loss", "dataset", "n_seeds", "best_weight", "at_edge",
    "user_weight", "user_weight_bohr", "has_units", "energy_constant", "force_constant", "scores",
]  # fmt: skip
REGRETS = [
    "model", "force_loss", "energy_loss", "taken_from", "used_on", "user_weight", "regret",
    "excess", "at_edge",
]  # fmt: skip
ALL = "all"
N_TRIED = 401  # weights that are tried as the one for all datasets


def weight_tables(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tabulate the best weights of every loss on every dataset, and their regrets elsewhere.

    Returns
    -------
    weights
        ``WEIGHTS``: one row a loss and dataset. ``best_weight`` is that of the runs,
        ``user_weight`` what a user types in eV and Å and ``user_weight_bohr`` in bohr, in any unit
        of energy (``pesloss.claims.weights``); ``at_edge`` when it is at an end of the sweep;
        ``scores`` the mean validation scores by weight.
    regrets
        ``REGRETS``: ``regret`` of using one dataset's best user's weight on another, in the
        logarithm of an rmse, on test structures; ``excess`` the same against the best loss at its
        own best weight. ``taken_from`` is ``all`` for the one weight of a loss with the lowest mean
        regret over all datasets on validation structures. Both are empty where nothing can be
        compared.
    """
    weights: list[dict[str, Any]] = []
    regrets: list[dict[str, Any]] = []
    try:
        for example, by_loss in transfers(study.comparisons, same_seeds=False):
            about = {"model": example.model, "force_loss": example.force_loss}
            for transfer in by_loss.values():
                weights += [{**about, **row} for row in _weight_rows(transfer)]
            regrets += [{**about, **row} for row in _regret_rows(by_loss)]
    except NotMeasurable:
        pass  # said by the claims, which are about the same runs
    return pd.DataFrame(weights, columns=WEIGHTS), pd.DataFrame(regrets, columns=REGRETS)


def _ones(sweep: Sweep) -> Array:
    return np.ones((1, *sweep.terms.shape[1::2]))


def _best(sweep: Sweep) -> float:
    return float(sweep.best(_ones(sweep))[0])


def _weight_rows(transfer: Transfer) -> Iterator[dict[str, Any]]:
    for sweep in transfer.sweeps:
        best = _best(sweep)
        scores = sweep.scores(_ones(sweep))[:, 0]
        pairs = zip(10**sweep.log_weights, scores, strict=True)
        user = best + sweep.shift
        yield {
            "energy_loss": sweep.loss,
            "dataset": sweep.dataset,
            "n_seeds": sweep.terms.shape[1],
            "best_weight": 10**best,
            "at_edge": bool(at_edge(np.array(best), sweep.limits)),
            "user_weight": 10**user,
            "user_weight_bohr": 10 ** (user + (DECADES_TO_BOHR if sweep.has_units else 0.0)),
            "has_units": sweep.has_units,
            "energy_constant": sweep.constants["energy"],
            "force_constant": sweep.constants["forces"],
            "scores": " ".join(f"{weight:g}:{score:.4f}" for weight, score in pairs),
        }


def _score(sweep: Sweep, user: float, split: str) -> float:
    """Return the score at a user's weight (log10), or at the end of the sweep nearest to it."""
    x = float(np.clip(user - sweep.shift, *sweep.limits))
    return float(value(sweep.curve(_ones(sweep), split), x)[0])


def _regret_rows(by_loss: dict[str, Transfer]) -> Iterator[dict[str, Any]]:
    datasets = [sweep.dataset for sweep in next(iter(by_loss.values())).sweeps]
    own = {
        loss: [_score(s, _best(s) + s.shift, "test") for s in transfer.sweeps]
        for loss, transfer in by_loss.items()
    }
    leading = np.min(list(own.values()), axis=0)
    for loss, transfer in by_loss.items():
        users = {s.dataset: _best(s) + s.shift for s in transfer.sweeps}
        for origin, user in {**users, ALL: one_for_all(transfer)}.items():
            for place, sweep in enumerate(transfer.sweeps):
                reached = _score(sweep, user, "test")
                yield {
                    "energy_loss": loss,
                    "taken_from": origin,
                    "used_on": datasets[place],
                    "user_weight": 10**user,
                    "regret": reached - own[loss][place],
                    "excess": reached - leading[place],
                    "at_edge": bool(at_edge(np.array(user - sweep.shift), sweep.limits)),
                }


def one_for_all(transfer: Transfer) -> float:
    """Return log10 of the user's weight with the lowest mean regret on validation structures."""
    limits = np.array([np.array(sweep.limits) + sweep.shift for sweep in transfer.sweeps])
    tried = np.linspace(limits.min(), limits.max(), N_TRIED)
    total = np.zeros(N_TRIED)
    for sweep in transfer.sweeps:
        curve = sweep.curve(_ones(sweep))
        total += value(curve, np.clip(tried - sweep.shift, *sweep.limits))
    return float(tried[np.argmin(total)])
