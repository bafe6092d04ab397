"""Best force weights and what it costs to carry them over, as tables (C11)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.measurement import NotMeasurable
from pesloss.claims.runs import Study
from pesloss.claims.weights import (
    DECADES_TO_BOHR,
    Transfer,
    at_edge,
    carried_score,
    leaders_scores,
    one_for_all,
    own_scores,
    transfers,
)

WEIGHTS = [
    "model", "force_loss", "energy_loss", "dataset", "n_seeds", "best_weight", "at_edge",
    "user_weight", "user_weight_bohr", "has_units", "energy_constant", "force_constant", "scores",
]  # fmt: skip
REGRETS = [
    "model", "force_loss", "energy_loss", "taken_from", "used_on", "user_weight", "regret",
    "excess", "at_edge",
]  # fmt: skip
ALL = "all"


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
        logarithm of an rmse, on test structures; ``excess`` the same against the loss that leads
        there on validation structures, at its own best weight. ``taken_from`` is ``all`` for the
        one weight of a loss with the lowest mean regret over all datasets on validation structures.
        Both are empty where nothing can be compared.
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


def _weight_rows(transfer: Transfer) -> Iterator[dict[str, Any]]:
    for sweep in transfer.sweeps:
        best = float(sweep.best(sweep.ones)[0])
        scores = sweep.scores(sweep.ones)[:, 0]
        pairs = zip(10**sweep.log_weights, scores, strict=True)
        user = sweep.best_user_weight
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


def _regret_rows(by_loss: dict[str, Transfer]) -> Iterator[dict[str, Any]]:
    datasets = [sweep.dataset for sweep in next(iter(by_loss.values())).sweeps]
    leading, own = leaders_scores(by_loss, "test"), own_scores(by_loss, "test")
    for (loss, transfer), mine in zip(by_loss.items(), own, strict=True):
        users = {s.dataset: s.best_user_weight for s in transfer.sweeps}
        for origin, user in {**users, ALL: one_for_all(transfer)}.items():
            for place, sweep in enumerate(transfer.sweeps):
                reached = carried_score(sweep, user, "test")
                yield {
                    "energy_loss": loss,
                    "taken_from": origin,
                    "used_on": datasets[place],
                    "user_weight": 10**user,
                    "regret": reached - mine[place],
                    "excess": reached - leading[place],
                    "at_edge": bool(at_edge(np.array(user - sweep.shift), sweep.limits)),
                }
