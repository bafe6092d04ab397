"""A page for the practitioner: which loss, when, at which force weight, and how sure that is.

Every sentence is computed from tables. Losses are compared on test structures at the same seeds,
each at the force weight that is best on validation structures. The score is that of science.md §5:
half the log force RMSE, half the mean over p = 0, 1, 2 of the log of the RMS of ``ΔE/N^(p/2)``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from pesloss import wording
from pesloss.report import counts, number, table_row

CONTROL = "control_"
SCORED = ("energy_rmse_mev", "energy_rmse_mev_per_root_atom", "energy_rmse_mev_per_atom")
FORCE = "force_rmse_mev_per_angstrom"
UNIT = ["dataset", "model"]
CELL = [*UNIT, "energy_loss"]
LEVEL = 0.95
MANY = 12
NEAR = 0.25  # half the distance of the two exponents
KINDS = {"½": "label deviations grow about as √N (exponent within ½ ± ¼)",
         "1": "label deviations grow about as N (exponent within 1 ± ¼)",
         "other": "label deviations grow otherwise, or it is not known"}  # fmt: skip


Growth = tuple[float, float, float]


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, and a table below them where there is one."""

    title: str
    paragraphs: tuple[str, ...]
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def guide(
    claims: pd.DataFrame,
    runs: pd.DataFrame,
    statistics: pd.DataFrame | None = None,
    more: Mapping[str, pd.DataFrame] | None = None,
) -> str:
    """Write the guide as Markdown.

    Parameters
    ----------
    claims, runs, statistics
        ``claims.csv``, ``runs.csv`` and ``statistics.csv`` of the results; statistics say which
        data have one species.
    more
        Further tables by name; each becomes a section of its own.

    Returns
    -------
    str
        Markdown, one page.
    """
    parts = []
    for section in sections(claims, runs, statistics, more):
        parts += [f"### {section.title}", *section.paragraphs]
        if section.rows:
            lines = [section.heads, ("---",) * len(section.heads), *section.rows]
            parts.append("\n".join(_markdown_row(line) for line in lines))
    return "\n\n".join(parts) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return table_row(*(cell.replace("|", chr(92) + "|") for cell in cells))


def sections(
    claims: pd.DataFrame,
    runs: pd.DataFrame,
    statistics: pd.DataFrame | None = None,
    more: Mapping[str, pd.DataFrame] | None = None,
) -> list[Section]:
    """Return what `guide` says, for other renderings."""
    claims, runs = _of_users(claims), scored(runs)
    found = []
    if len(runs):
        best, growth = at_own_best_weight(runs), label_growth(claims)
        found += [
            _in_short(best, runs),
            _which_loss(best, runs, growth, statistics),
            _by_kind(best, growth),
            _weights(runs),
        ]
    found += [_how_sure(claims, runs), _not_to_believe(claims)]
    found += [_further(name, table) for name, table in (more or {}).items() if len(table)]
    return found


def _of_users(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements that are no controls, of losses that are none."""
    text = ["model", "loss", "group", "options", "must_be"]
    claims = claims.assign(**{name: claims[name].fillna("").astype(str) for name in text})
    return claims[(claims.must_be == "") & ~claims.loss.str.startswith(CONTROL)]


def scored(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the comparable runs of losses for users, with their ``score`` on test structures."""
    kept = runs[(runs.variant == "base") & (runs.metric == "mse") & (runs.force_loss == "raw")]
    kept = kept[~kept.energy_loss.astype(str).str.startswith(CONTROL)]
    energy = np.log(kept[list(SCORED)].astype(float)).mean(axis=1)
    force = np.log(kept[FORCE].astype(float))
    return kept.assign(score=(energy + force) / 2)


def at_own_best_weight(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each loss's runs at the force weight with the lowest mean validation score."""
    scores = runs.groupby([*CELL, "force_weight"]).validation_score.mean().reset_index()
    best = scores.sort_values(["validation_score", "force_weight"]).drop_duplicates(CELL)
    return runs.merge(best[[*CELL, "force_weight"]], on=[*CELL, "force_weight"])


def compared(best: pd.DataFrame, block: str) -> pd.DataFrame:
    """Compare every loss with the leader, block by block.

    Parameters
    ----------
    best
        Runs of one dataset and model, or means over seeds of several, with ``energy_loss``,
        ``validation_score``, ``score`` and ``block``.
    block
        What is paired: runs of one ``seed``, or the means of one dataset.

    Returns
    -------
    DataFrame
        energy_loss, mean difference of the score to that of the leader, the ends of its interval
        (Student's t over blocks, simultaneous over the losses after Bonferroni), ``n`` blocks.
        The leader, chosen by validation score, comes first; NaN where one block is too few.
    """
    wide = best.pivot_table(index=block, columns="energy_loss", values="score").dropna()
    leader = best.groupby("energy_loss").validation_score.mean().idxmin()
    others = [name for name in wording.ordered(wide.columns, wording.LOSSES) if name != leader]
    rows: list[dict[str, Any]] = [
        {"energy_loss": leader, "difference": 0.0, "low": 0.0, "high": 0.0, "n": len(wide)}
    ]
    for name in others:
        difference = (wide[name] - wide[leader]).to_numpy(float)
        half = _half_width(difference, 1 - (1 - LEVEL) / len(others))
        mean = float(difference.mean()) if len(difference) else np.nan
        ends = {"low": mean - half, "high": mean + half}
        rows.append({"energy_loss": name, "difference": mean, **ends, "n": len(difference)})
    return pd.DataFrame(rows)


def _half_width(values: np.ndarray[Any, np.dtype[np.float64]], level: float) -> float:
    if len(values) < 2:
        return np.nan
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return float(student.ppf((1 + level) / 2, len(values) - 1)) * error


def _told_apart(found: pd.DataFrame) -> str:
    """Say which losses are worse than the leader, better, or cannot be told apart."""
    leader, others = found.iloc[0], found.iloc[1:]
    worse, better = others[others.low > 0], others[others.high < 0]
    level = others[~(others.low > 0) & ~(others.high < 0)]
    if others.empty:
        return "nothing to compare with"
    if leader.n < 2:
        return "cannot be told apart: one seed"
    said = [f"worse: {_listed(worse)}"] if len(worse) else []
    said += [f"better: {_listed(better)}"] if len(better) else []
    said += [f"cannot be told apart: {_listed(level)}"] if len(level) else []
    return "; ".join(said)


def _listed(found: pd.DataFrame) -> str:
    return ", ".join(
        f"{wording.loss(str(row.energy_loss))} {_percent(row.difference)}"
        f" [{_percent(row.low)}, {_percent(row.high)}]"
        for _, row in found.iterrows()
    )


def _percent(log_ratio: Any) -> str:
    change = 100 * np.expm1(float(log_ratio))
    text = f"{change:+.0f} %" if abs(change) < 1000 else "> +1000 %"
    return "0 %" if text in ("+0 %", "-0 %") else text.replace("-", "−")


def label_growth(claims: pd.DataFrame) -> dict[str, Growth]:
    """Return the exponent of each dataset's labels and its interval."""
    chosen = (claims.statistic == "label_exponent") & (claims.options == "estimator=gamma")
    rows = claims[chosen].drop_duplicates("dataset")
    return {str(r.dataset): (r.estimate, r.ci_low, r.ci_high) for _, r in rows.iterrows()}


def _kind(growth: Mapping[str, Growth], dataset: str) -> str:
    near = {"½": 0.5, "1": 1.0}
    exponent = growth.get(dataset, (np.nan,))[0]
    return next((kind for kind, at in near.items() if abs(exponent - at) <= NEAR), "other")


def _units(best: pd.DataFrame) -> list[tuple[str, str]]:
    known = set(best[UNIT].itertuples(index=False, name=None))
    datasets = wording.ordered((name for name, _ in known), wording.DATASETS)
    models = wording.ordered((name for _, name in known), wording.MODELS)
    return [(d, m) for d in datasets for m in models if (d, m) in known]


def _in_short(best: pd.DataFrame, runs: pd.DataFrame) -> Section:
    swept, pairs = _swept(runs), _units(best)
    counted = [pair for pair in pairs if pair in swept] or pairs
    tables = [
        compared(best[(best.dataset == dataset) & (best.model == model)], "seed")
        for dataset, model in counted
    ]
    others = pd.concat([table.iloc[1:] for table in tables])
    leads = pd.Series([table.iloc[0].energy_loss for table in tables]).value_counts()
    said = []
    for name in wording.ordered(pd.concat(tables).energy_loss, wording.LOSSES):
        rows = others[others.energy_loss == name]
        worse, better = int((rows.low > 0).sum()), int((rows.high < 0).sum())
        level = len(rows) - worse - better
        beats = f", better than the leader on {better}" if better else ""
        said.append(
            f"- {wording.loss(name)}: leads on {leads.get(name, 0)} of "
            f"{leads.get(name, 0) + len(rows)}, cannot be told apart from the leader on {level}, "
            f"worse on {worse}{beats}."
        )
    clear = sum(len(table) > 1 and bool((table.low[1:] > 0).all()) for table in tables)
    single = len(pairs) - len(tables)
    left = f" ({single} at one force weight alone are not counted)" if single else ""
    text = [f"Over {_sets(len(tables))}{left}:", "\n".join(said)]
    text.append(f"The leader is told apart from every other loss on {clear} of {len(tables)}.")
    table = regrets(runs)
    if len(table):
        safest = table.iloc[0]
        text.append(
            f"If one must choose without a sweep: {wording.loss(str(safest.energy_loss))} at force "
            f"weight {safest.force_weight:g}."
        )
    return Section("In short", tuple(text))


def _swept(runs: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the datasets and models that were trained at several force weights."""
    n = runs.groupby(UNIT).force_weight.nunique()
    return set(n.index[n > 1])


def _which_loss(
    best: pd.DataFrame,
    runs: pd.DataFrame,
    growth: Mapping[str, Growth],
    statistics: pd.DataFrame | None,
) -> Section:
    rows, swept = [], _swept(runs)
    for dataset, model in _units(best):
        part = best[(best.dataset == dataset) & (best.model == model)]
        found = compared(part, "seed")
        leader = str(found.iloc[0].energy_loss)
        exponent = "{} [{}, {}]".format(*map(number, growth[dataset])) if dataset in growth else ""
        weight = f"{part[part.energy_loss == leader].force_weight.iloc[0]:g}"
        weight += " (only one)" if (dataset, model) not in swept else ""
        cells = (exponent, wording.loss(leader), weight, _told_apart(found), str(found.iloc[0].n))
        rows.append((wording.dataset(dataset, model), *cells))
    return Section(
        "Which loss",
        (
            "Lowest validation score of energies and forces, each loss at its own best force "
            "weight; the others' geometric mean error on test structures over the leader's, with "
            "95 % intervals over seeds that hold for all comparisons of a row at once. Errors "
            "depend on the test structures too; the intervals do not say how.",
            *_one_species(best, statistics),
        ),
        ("data", "label exponent", "leader", "force weight", "the others", "seeds"),
        tuple(rows),
    )


def _one_species(best: pd.DataFrame, statistics: pd.DataFrame | None) -> list[str]:
    if statistics is None or statistics.empty:
        return []
    n_species = statistics.groupby("dataset").species.nunique()
    single = [name for name in sorted(set(best.dataset)) if n_species.get(name, 0) == 1]
    if not single:
        return []
    named = ", ".join(wording.dataset(name) for name in single)
    return [
        f"One species ({named}): the standardized loss is the 1/√N loss times a constant; take "
        "either."
    ]


def _by_kind(best: pd.DataFrame, growth: Mapping[str, Growth]) -> Section:
    said = []
    means = best.groupby(CELL)[["score", "validation_score"]].mean().reset_index()
    means["block"] = means.dataset + " " + means.model
    kinds = means.dataset.map(lambda name: _kind(growth, name))
    for kind, words in KINDS.items():
        part = means[kinds == kind]
        if part.empty:
            continue
        in_all = part.groupby("energy_loss").block.nunique() == part.block.nunique()
        part = part[part.energy_loss.map(in_all)]
        n = part.block.nunique()
        head = f"Where {words}, {_sets(n)}"
        if n < 2:
            said.append(f"{head}: too few to say more than the rows above.")
            continue
        found = compared(part, "block")
        leader = wording.loss(str(found.iloc[0].energy_loss))
        said.append(f"{head}: {leader} leads on average; {_told_apart(found)}.")
    said.append(
        "Intervals over data sets: they tell how far the answer carries to data not seen here. All "
        "models learn energies and forces; without forces, nothing was measured here."
    )
    return Section("When: by the growth of the labels", tuple(said))


def _sets(n: int) -> str:
    return f"{n} pair{'s' if n != 1 else ''} of data and model"


def regrets(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what a loss at a fixed force weight costs on each dataset over the best there.

    Returns
    -------
    DataFrame
        energy_loss, force_weight, mean and worst ``regret`` over datasets and models (difference of
        the score on test structures to the loss and weight best on validation structures), and
        their number ``n``; pairs that were not run on all of those that have a sweep are left out.
    """
    sweep = runs.groupby(UNIT).force_weight.transform("nunique") > 1
    keys = [*CELL, "force_weight"]
    scores = runs[sweep].groupby(keys)[["score", "validation_score"]].mean().reset_index()
    leaders = scores.sort_values(["validation_score", *keys]).drop_duplicates(UNIT)
    found = scores.merge(leaders[[*UNIT, "score"]], on=UNIT, suffixes=("", "_best"))
    found["regret"] = found.score - found.score_best
    table = found.groupby(["energy_loss", "force_weight"]).regret.agg(["mean", "max", "count"])
    table = table[table["count"] == leaders.shape[0]].reset_index()
    names = {"mean": "mean_regret", "max": "worst_regret", "count": "n"}
    return table.rename(columns=names).sort_values(["worst_regret", "energy_loss"])


def _weights(runs: pd.DataFrame) -> Section:
    table = regrets(runs)
    if table.empty:
        return Section("At which force weight", ("No force weight was varied.",))
    safest = table.iloc[0]
    said = [
        f"Safest on {_sets(int(safest.n))} with a sweep: {wording.loss(safest.energy_loss)} "
        f"at force weight {safest.force_weight:g}, at worst {_percent(safest.worst_regret)} above "
        f"the best there ({_percent(safest.mean_regret)} on average). Means over seeds, judged "
        "on test structures without intervals: what comes close to it is as good.",
        *_at_the_edge(runs),
    ]
    rows = []
    for name in wording.ordered(table.energy_loss, wording.LOSSES):
        row = table[table.energy_loss == name].iloc[0]
        own = at_own_best_weight(runs[runs.energy_loss == name])
        own = own[own.dataset.isin(runs[runs.force_weight != row.force_weight].dataset)]
        weights = sorted(set(own.force_weight))
        rows.append((wording.loss(name), f"{row.force_weight:g}", _percent(row.worst_regret),
                     _percent(row.mean_regret), f"{weights[0]:g} to {weights[-1]:g}"))  # fmt: skip
    heads = ("loss", "safest weight", "at worst", "on average", "own best weights")
    return Section("At which force weight", tuple(said), heads, tuple(rows))


def _at_the_edge(runs: pd.DataFrame) -> list[str]:
    sweep = runs.groupby(UNIT).force_weight.agg(["min", "max"]).reset_index()
    own = at_own_best_weight(runs).drop_duplicates(CELL).merge(sweep, on=UNIT)
    own = own[own["min"] < own["max"]]
    edge = own[(own.force_weight == own["min"]) | (own.force_weight == own["max"])]
    if edge.empty:
        return []
    return [
        f"{len(edge)} of {len(own)} best weights lie at an end of the sweep: the true one may lie "
        "beyond."
    ]


def _how_sure(claims: pd.DataFrame, runs: pd.DataFrame) -> Section:
    seeds = runs.groupby([*CELL, "force_weight"]).seed.nunique()
    trained = (
        f"{len(runs)} comparable trainings; seeds of each loss and weight: {_span(seeds)}."
        if len(runs)
        else "No trainings."
    )
    rows = tuple(
        (wording.claim(name), *(_counted(claims, name, s) for s in ("labels", "errors")))
        for name in sorted(set(claims.claim), key=wording.claim_number)
        if name in wording.TWELVE
    )
    return Section("How sure", (trained,), ("claim", "labels", "errors of models"), rows)


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _counted(claims: pd.DataFrame, name: str, subject: str) -> str:
    return counts(claims[(claims.claim == name) & (claims.subject == subject)].verdict)


def _not_to_believe(claims: pd.DataFrame) -> Section:
    said, open_ones = [], []
    for name in sorted(set(claims.claim) & set(wording.TWELVE), key=wording.claim_number):
        rows = claims[claims.claim == name]
        against = set(rows[rows.verdict == "contradicted"].dataset)
        favour = set(rows[rows.verdict == "supported"].dataset)
        if len(against) > len(favour):
            said.append(
                f"- {wording.claim(name)}: contradicted by some measurement on {len(against)} of "
                f"{rows.dataset.nunique()} data sets, supported by some on {len(favour)}."
            )
        elif (rows.verdict == "undecided").mean() > 0.5:
            open_ones.append(name)
    text = ["\n".join(said)] if said else ["No claim is contradicted more often than supported."]
    if open_ones:
        text.append(f"Not settled either way, mostly undecided: {', '.join(open_ones)}.")
    return Section("What not to believe", tuple(text))


def _further(name: str, table: pd.DataFrame) -> Section:
    """Show the head of a table that other parts of the workflow made."""
    shown = table.head(MANY)
    rows = tuple(tuple(_cell(value) for value in row) for row in shown.itertuples(index=False))
    rest = (f"The first {MANY} of {len(table)} rows.",) if len(table) > MANY else ()
    title = name.replace("_", " ").capitalize()
    return Section(title, rest, tuple(_words(list(table.columns))), rows)


def _words(columns: Sequence[Any]) -> list[str]:
    return [str(column).replace("_", " ") for column in columns]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else number(value)
    names = {**wording.DATASETS, **wording.LOSSES}
    return names.get(str(value), str(value))
