"""A page for the practitioner: which loss, at which force weight, and how sure that is.

Every sentence renders a table that was decided elsewhere (`pesloss.claims.advice`,
`pesloss.claims.collect`); nothing is judged here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pesloss.claims.advice import BETTER, LEADER, NOT_COMPARED, ONE_SEED, OPEN, WORSE
from pesloss.claims.collect import with_corrected_verdicts, with_texts
from pesloss.report import wording
from pesloss.report.verdicts import counts, number, table_row
from pesloss.spec.names import claim_number, is_claim

UNIT = ["dataset", "model"]
CORRECTED = "corrected together for their number (Holm, 5 %)"


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, and a table below them where there is one."""

    title: str
    paragraphs: tuple[str, ...]
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def guide(claims: pd.DataFrame, compared: pd.DataFrame, carried: pd.DataFrame) -> str:
    """Write the guide as Markdown, one page.

    Parameters
    ----------
    claims, compared, carried
        ``claims.csv``, ``advice.csv`` and ``carried_weight.csv`` of the results.
    """
    parts = []
    for section in sections(claims, compared, carried):
        parts += [f"### {section.title}", *section.paragraphs]
        if section.rows:
            lines = [section.heads, ("---",) * len(section.heads), *section.rows]
            parts.append("\n".join(_markdown_row(line) for line in lines))
    return "\n\n".join(parts) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return table_row(*(cell.replace("|", chr(92) + "|") for cell in cells))


def sections(claims: pd.DataFrame, compared: pd.DataFrame, carried: pd.DataFrame) -> list[Section]:
    """Return what `guide` says, for other renderings."""
    claims, compared = _of_users(claims), compared.assign(same_as=compared.same_as.fillna(""))
    found = [_in_short(compared, carried)]
    if len(compared):
        found.append(_which_loss(compared, _label_growth(claims)))
    if len(carried):
        found.append(_one_weight(carried))
    return [*found, _how_sure(claims), _not_to_believe(claims)]


def _of_users(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements that are no controls, with their corrected verdicts."""
    claims = with_texts(claims)
    return with_corrected_verdicts(claims[claims.must_be == ""])


def _in_short(compared: pd.DataFrame, carried: pd.DataFrame) -> Section:
    tested = compared[~compared.answer.isin([LEADER, ONE_SEED, NOT_COMPARED])]
    pairs = tested.groupby(UNIT).ngroups
    if tested.empty:
        text = ["No two losses were compared at two seeds or more: nothing is advised."]
        return Section("In short", tuple(text))
    clear = tested[tested.answer != OPEN]
    text = [
        f"Of {len(tested)} comparisons of another loss with the leader of its data, the leader is "
        f"better in {int((clear.answer == WORSE).sum())}, worse in "
        f"{int((clear.answer == BETTER).sum())}, not told apart in {len(tested) - len(clear)}; on "
        f"{_sets(pairs)}, each loss at the best of the force weights that both were trained with, "
        f"{CORRECTED}."
    ]
    said = [_of_loss(tested, compared, name) for name in _in_order(tested) if _any(clear, name)]
    text += ["\n".join(said)] if said else ["No loss is told apart from the leader anywhere."]
    return Section("In short", (*text, _carried_sentence(carried)))


def _any(rows: pd.DataFrame, loss: str) -> bool:
    return bool((rows.energy_loss == loss).any())


def _in_order(table: pd.DataFrame) -> list[str]:
    return wording.losses(table.energy_loss)


def _of_loss(tested: pd.DataFrame, compared: pd.DataFrame, loss: str) -> str:
    rows = tested[tested.energy_loss == loss]
    named = [
        f"{answer} than the leader on {_listed(part)}"
        for answer, part in ((a, rows[rows.answer == a]) for a in (WORSE, BETTER))
        if len(part)
    ]
    leads = int(((compared.energy_loss == loss) & (compared.answer == LEADER)).sum())
    level = int((rows.answer == OPEN).sum())
    rest = f"not told apart on {level}, leading on {leads}"
    return f"- {wording.loss(loss)}: {'; '.join(named)}; {rest}."


def _listed(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{wording.dataset(str(row.dataset), str(row.model))} ({_with_interval(row)})"
        for _, row in rows.iterrows()
    )


def _with_interval(row: pd.Series) -> str:
    return f"{_percent(row.log_ratio)} [{_percent(row.ci_low)}, {_percent(row.ci_high)}]"


def _percent(log_ratio: Any) -> str:
    change = 100 * np.expm1(float(log_ratio))
    text = f"{change:+.0f} %" if abs(change) < 1000 else "> +1000 %"
    return "0 %" if text in ("+0 %", "-0 %") else text.replace("-", "−")


def _carried_sentence(carried: pd.DataFrame) -> str:
    if carried.empty:
        return "Which force weight to take without a sweep was not measured."
    clear = carried[~carried.answer.isin([LEADER, OPEN])]
    if clear.empty:
        return (
            "At a force weight carried over from other data no loss is told apart from another, "
            f"on {int(carried.n_datasets.max())} data sets: nothing is advised but a sweep."
        )
    found = [
        f"{wording.loss(str(row.energy_loss))} {row.answer} than "
        f"{wording.loss(_leader(carried, row.model))} ({_with_interval(row)})"
        for _, row in clear.iterrows()
    ]
    return f"At a force weight carried over from other data: {', '.join(found)}."


def _leader(carried: pd.DataFrame, model: str) -> str:
    rows = carried[(carried.model == model) & (carried.answer == LEADER)]
    return str(rows.energy_loss.iloc[0])


def _sets(n: int) -> str:
    return f"{n} pair{'s' if n != 1 else ''} of data and model"


def _label_growth(claims: pd.DataFrame) -> dict[str, str]:
    chosen = (claims.statistic == "label_exponent") & (claims.options == "estimator=gamma")
    rows = claims[chosen].drop_duplicates("dataset")
    return {
        str(row.dataset): f"{number(row.estimate)} [{number(row.ci_low)}, {number(row.ci_high)}]"
        for _, row in rows.iterrows()
    }


def _which_loss(compared: pd.DataFrame, growth: dict[str, str]) -> Section:
    rows = []
    for dataset in wording.datasets(compared.dataset):
        of_data = compared[compared.dataset == dataset]
        for model in wording.models(of_data.model):
            part = of_data[of_data.model == model]
            leader = part[part.leads.astype(bool)].iloc[0]
            weight = f"{leader.force_weight:g}" + ("" if leader.n_weights > 1 else " (only one)")
            weight += " (end of the sweep)" if leader.at_edge else ""
            rows.append((wording.dataset(dataset, model), growth.get(dataset, ""), _name(leader),
                         weight, _told_apart(part), f"{leader.n_seeds:.0f}"))  # fmt: skip
    edge = compared[compared.at_edge.astype(bool)]
    swept = int((compared.n_weights > 1).sum())
    text = [
        "The leader has the lowest validation score of energies and forces, each loss at its own "
        "best force weight. Of the others: geometric mean error on test structures over the "
        "leader's, at the best of the force weights that both were trained with, with 95 % "
        "intervals over families of structures and seeds; answers are "
        f"{CORRECTED}. Losses that are the same on the data are one; one seed tells nothing."
    ]
    if len(edge):
        text.append(
            f"{len(edge)} of {swept} best weights lie at an end of the sweep: the true one may lie "
            "beyond."
        )
    heads = ("data", "label exponent", "leader", "force weight", "the others", "seeds")
    return Section("Which loss", tuple(text), heads, tuple(rows))


def _name(row: pd.Series) -> str:
    return " = ".join(map(wording.loss, (row.energy_loss, *str(row.same_as).split())))


def _told_apart(part: pd.DataFrame) -> str:
    others = part[~part.leads.astype(bool)]
    if (others.answer == ONE_SEED).any():
        return ONE_SEED
    said = []
    for answer in (WORSE, BETTER, OPEN):
        rows = others[others.answer == answer]
        if len(rows):
            ordered = rows.set_index("energy_loss", drop=False).loc[_in_order(rows)]
            named = [f"{_name(row)} {_with_interval(row)}" for _, row in ordered.iterrows()]
            said.append(f"{answer}: {', '.join(named)}")
    unlike = others[others.answer == NOT_COMPARED]
    if len(unlike):
        names = ", ".join(wording.loss(name) for name in _in_order(unlike))
        said.append(f"{NOT_COMPARED}: {names}")
    return "; ".join(said)


def _one_weight(carried: pd.DataFrame) -> Section:
    rows = tuple(
        (
            wording.model(row.model),
            wording.loss(str(row.energy_loss)),
            _percent(row.mean_excess),
            f"{_percent(row.worst_excess)} ({wording.dataset(str(row.worst_dataset))})",
            f"{row.n_at_edge:.0f} of {row.n_datasets:.0f}",
            "" if row.answer == LEADER else _with_interval(row),
            str(row.answer),
        )
        for _, row in carried.iterrows()
    )
    text = (
        "Each data set in turn gets the force weight, as a user types it in eV and Å, that is best "
        "for the others by their validation structures. What that costs on its test structures, "
        "over its own leader at its own best weight; against the loss that leads by validation, "
        f"with 95 % intervals over data sets, answers {CORRECTED}.",
    )
    heads = ("model", "loss", "on average", "at worst", "at an end of the sweep",
             "against the leader", "answer")  # fmt: skip
    return Section("One weight for all data", text, heads, rows)


def _how_sure(claims: pd.DataFrame) -> Section:
    rows = tuple(
        (wording.claim(name), *(_counted(claims, name, s) for s in ("labels", "errors")))
        for name in sorted(set(claims.claim), key=claim_number)
        if is_claim(name)
    )
    text = ("All measurements of each claim, corrected within the claim (Holm, 5 %).",)
    return Section("How sure", text, ("claim", "labels", "errors of models"), rows)


def _counted(claims: pd.DataFrame, name: str, subject: str) -> str:
    return counts(claims[(claims.claim == name) & (claims.subject == subject)].verdict)


def _not_to_believe(claims: pd.DataFrame) -> Section:
    said, open_ones = [], []
    for name in sorted(filter(is_claim, set(claims.claim)), key=claim_number):
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
