"""Which loss to use: every loss against the leader of its data, and one weight for all data.

Whatever is chosen (a loss's force weight, the leader, the weight that is carried over) is chosen on
validation structures; what is said of the choice comes from test structures. The weight that is
carried to a dataset is chosen on the other datasets alone. All comparisons of one table are
corrected together (Holm), and losses that are the same on a dataset are one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from pesloss import losses
from pesloss.claims.measurement import Array, Measurement, NotMeasurable, Sampling
from pesloss.claims.measures.paired_difference import log_ratio
from pesloss.claims.runs import Comparison, families
from pesloss.claims.weights import (
    FEWEST_WEIGHTS,
    Transfer,
    carried_score,
    leaders_scores,
    one_for_all,
    transfers,
)
from pesloss.evaluation.score import score
from pesloss.inference import Estimate, adjust
from pesloss.losses.controls import is_control
from pesloss.spec.run import BASE
from pesloss.statistics.dataset import DatasetStatistics
from pesloss.training.objective import scales_of

COMPARED = [
    "dataset", "model", "energy_loss", "same_as", "force_weight", "n_weights", "at_edge", "leads",
    "log_ratio", "ci_low", "ci_high", "p_value", "p_corrected", "answer", "n_seeds",
    "n_structures",
]  # fmt: skip
CARRIED = [
    "model", "energy_loss", "n_datasets", "mean_excess", "worst_excess", "worst_dataset",
    "n_at_edge", "leads", "log_ratio", "ci_low", "ci_high", "p_value", "p_corrected", "answer",
]  # fmt: skip
LEVEL = 0.95
LEADER, WORSE, BETTER, OPEN, ONE_SEED = "leader", "worse", "better", "not told apart", "one seed"
NOT_COMPARED = "not compared"
FEWEST_SEEDS = 2
FEWEST_DATASETS = 3  # two to choose a weight on, or an interval over two blocks and more
SAME = 1e-6  # relative difference of s_k that no training in float32 knows of


def compared_table(
    comparisons: Iterable[Comparison], rng: np.random.Generator, n_resamples: int
) -> pd.DataFrame:
    """Compare every loss with the leader, on each dataset and model.

    Parameters
    ----------
    comparisons
        Runs of the suite; those at the usual settings, under MSE and plain forces, are used.
    rng, n_resamples
        Of the bootstrap over families of structures and seeds.

    Returns
    -------
    DataFrame
        ``COMPARED``, one row a loss. ``log_ratio`` is the difference of the scores
        (`pesloss.evaluation.score`) of the loss and the leader, each at the best of the force
        weights that both were trained with, on test structures, with its interval; ``p_corrected``
        after Holm over all rows; ``answer`` one of leader, worse, better, not told apart, where
        there are no two seeds one seed, and without a force weight in common not compared.
        ``force_weight`` is the best of all that the loss was trained with.
        ``same_as`` names the losses that are the same on these data and are not compared again.
    """
    sampling = Sampling(rng, n_resamples, LEVEL)
    rows = [row for data in comparisons for row in _compared(_usual(data), sampling)]
    return _answered(pd.DataFrame(rows, columns=COMPARED))


def _usual(data: Comparison) -> Comparison:
    """Return the runs that are compared: none where settings are not the usual ones."""
    usual = (data.variant, data.force_loss, data.metric) == (BASE, "raw", "mse")
    kept = [r for r in data.results if usual and not is_control(r.run.energy_loss)]
    return replace(data, results=tuple(kept))


def _compared(data: Comparison, sampling: Sampling) -> Iterator[dict[str, Any]]:
    same = same_losses(data.losses, data.statistics)
    names = [name for name in data.losses if same[name] == name]
    if len(names) < 2:
        return
    best = {name: data.best_weight(name) for name in names}
    validation = {
        name: np.mean([score(r.split("validation")) for r in data.of(name, best[name])])
        for name in names
    }
    leader = min(names, key=lambda name: (validation[name], name))
    for name in sorted(names, key=lambda name: (name != leader, name)):
        others = [twin for twin in data.losses if same[twin] == name and twin != name]
        weights = data.weights_of(name)
        yield {
            "dataset": data.dataset,
            "model": data.model,
            "energy_loss": name,
            "same_as": " ".join(others),
            "force_weight": best[name],
            "n_weights": len(weights),
            "at_edge": len(weights) > 1 and best[name] in (weights[0], weights[-1]),
            "leads": name == leader,
            "n_seeds": len(data.of(name, best[name])),
            "n_structures": len(data.tested()),
            **({} if name == leader else _difference(data, name, leader, sampling)),
        }


def _difference(data: Comparison, name: str, leader: str, sampling: Sampling) -> dict[str, float]:
    """Compare two losses, each at the best of the force weights that both were trained with."""
    both = sorted({*data.weights_of(name)} & {*data.weights_of(leader)})
    if not both:
        return {}
    cells = [(loss, data.best_weight(loss, both)) for loss in (name, leader)]
    statistic = log_ratio(data, "score", [(cells[0], cells[1])])
    n_seeds = len(data.of(*cells[0]))
    found = sampling.interval(statistic, families(data.tested()), n_seeds)
    if isinstance(found, NotMeasurable):
        return {}
    return {"log_ratio": found.estimate, "ci_low": found.low, "ci_high": found.high,
            "p_value": _p_value(found) if n_seeds >= FEWEST_SEEDS else np.nan}  # fmt: skip


def _p_value(found: Measurement) -> float:
    assert found.uncertainty is not None
    return found.uncertainty.p_value(abs(found.estimate))


def same_losses(names: Sequence[str], statistics: DatasetStatistics) -> dict[str, str]:
    """Map each loss to the simplest of ``names`` that is the same on a dataset up to a factor.

    A factor of the energy loss is taken out by its constant before a training. A loss that learns
    while it trains is the same as no other.

    Parameters
    ----------
    names
        Energy losses.
    statistics
        Of the dataset.
    """
    counts = torch.as_tensor(_compositions(len(statistics.species)), dtype=torch.float64)
    scales = scales_of(statistics)
    found: dict[str, Array] = {}
    same = {name: name for name in names}
    for name in sorted(names, key=lambda name: (losses.size_exponent(name) is None, name)):
        loss = losses.energy_loss(name)(scales)
        if not loss.schedule:
            log = np.log(loss.scale(counts).numpy())
            log -= log.mean()
            same[name] = next((o for o in found if np.abs(found[o] - log).max() < SAME), name)
            found.setdefault(same[name], log)
    return same


def _compositions(n_species: int) -> Array:
    """Return pure and mixed compositions of several sizes: ``s_k²`` is a square form of counts."""
    one = np.eye(n_species)
    pairs = one[:, None] + one[None, :]
    base = np.unique(np.concatenate([one, pairs.reshape(-1, n_species)]), axis=0)
    return np.concatenate([size * base for size in (1.0, 3.0, 10.0, 100.0)])


def _answered(table: pd.DataFrame) -> pd.DataFrame:
    """Correct the p values of a table together and put the answers in words."""
    tested = table.p_value.notna()
    corrected = pd.Series(np.nan, table.index)
    corrected[tested] = adjust(table.p_value[tested].to_numpy(float))
    clear = corrected <= 1 - LEVEL
    answer = pd.Series(OPEN, table.index, dtype="str")
    answer[clear & (table.log_ratio > 0)] = WORSE
    answer[clear & (table.log_ratio < 0)] = BETTER
    answer[table.log_ratio.isna()] = NOT_COMPARED
    answer[table.leads.astype(bool)] = LEADER
    if "n_seeds" in table:
        answer[table.n_seeds.astype(float) < FEWEST_SEEDS] = ONE_SEED
    return table.assign(p_corrected=corrected, answer=answer)


def carried_table(comparisons: Iterable[Comparison]) -> pd.DataFrame:
    """Judge every loss at one force weight that was chosen on other data.

    Parameters
    ----------
    comparisons
        Runs of the suite; those at the usual settings with a sweep of three force weights and two
        seeds at least are used.

    Returns
    -------
    DataFrame
        ``CARRIED``, one row a model and loss. Each dataset in turn gets the user's weight
        (`pesloss.claims.weights`) with the lowest mean validation regret on the other datasets;
        its excess is the score on test structures over that of the dataset's leader at its own best
        weight. ``log_ratio`` is the mean difference of excesses to the loss that leads by
        validation, with an interval over datasets. Empty for fewer than three swept datasets.
    """
    usual = [_swept(_usual(data)) for data in comparisons]
    swept = [data for data in usual if data.results and _has_sweep(data)]
    models = Counter(data.model for data in swept)
    swept = [data for data in swept if models[data.model] >= FEWEST_DATASETS]
    rows: list[dict[str, Any]] = []
    for example, by_loss in transfers(swept, same_seeds=False):
        rows += _carried(example.model, by_loss) if len(by_loss) > 1 else ()
    return _answered(pd.DataFrame(rows, columns=CARRIED))


def _swept(data: Comparison) -> Comparison:
    """Return the losses with a sweep, at the force weights that all of them were trained with."""
    sweeps = {loss: data.weights_of(loss) for loss in data.losses}
    sweeps = {loss: found for loss, found in sweeps.items() if len(found) >= FEWEST_WEIGHTS}
    common = set.intersection(*map(set, sweeps.values())) if sweeps else set()
    kept = (r for r in data.results if r.run.energy_loss in sweeps)
    return replace(data, results=tuple(r for r in kept if r.run.force_weight in common))


def _has_sweep(data: Comparison) -> bool:
    seeds = {result.run.seed for result in data.results}
    return len(data.force_weights) >= FEWEST_WEIGHTS and len(seeds) >= FEWEST_SEEDS


def _carried(model: str, by_loss: dict[str, Transfer]) -> Iterator[dict[str, Any]]:
    excess = {split: _excesses(by_loss, split) for split in ("validation", "test")}
    leader = min(by_loss, key=lambda name: (excess["validation"][name].mean(), name))
    datasets = [sweep.dataset for sweep in by_loss[leader].sweeps]
    for name in sorted(by_loss, key=lambda name: (name != leader, name)):
        own = excess["test"][name]
        row = {
            "model": model,
            "energy_loss": name,
            "n_datasets": len(own),
            "mean_excess": own.mean(),
            "worst_excess": own.max(),
            "worst_dataset": datasets[int(own.argmax())],
            "n_at_edge": sum(edge for _, edge in _others_weights(by_loss[name])),
            "leads": name == leader,
        }
        yield row | ({} if name == leader else _over_blocks(own - excess["test"][leader]))


def _excesses(by_loss: dict[str, Transfer], split: str) -> dict[str, Array]:
    """Return for each loss its excess over the leader of each dataset, (D,)."""
    best = leaders_scores(by_loss, split)
    return {
        name: np.array(
            [
                carried_score(sweep, user, split)
                for sweep, (user, _) in zip(transfer.sweeps, _others_weights(transfer), strict=True)
            ]
        )
        - best
        for name, transfer in by_loss.items()
    }


def _others_weights(transfer: Transfer) -> list[tuple[float, bool]]:
    """Return for each dataset the weight the others choose, and whether it leaves the sweep."""
    found = []
    for place, sweep in enumerate(transfer.sweeps):
        others = transfer.sweeps[:place] + transfer.sweeps[place + 1 :]
        user = one_for_all(Transfer(others))
        found.append((user, not sweep.limits[0] < user - sweep.shift < sweep.limits[1]))
    return found


def _over_blocks(values: Array) -> dict[str, float]:
    """Return mean and interval over datasets, which are few and independent of each other."""
    found = Estimate(float(values.mean()), float(values.var(ddof=1)) / len(values), len(values) - 1)
    half = found.half_width(LEVEL)
    return {"log_ratio": found.value, "ci_low": found.value - half, "ci_high": found.value + half,
            "p_value": found.p_value(abs(found.value))}  # fmt: skip
