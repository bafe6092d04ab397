"""What the README and the report say, written from tables: nothing here is typed by hand."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from pesloss.claims.collect import with_corrected_verdicts, with_texts
from pesloss.job.errors import PeslossError
from pesloss.report import wording
from pesloss.spec.names import claim_number

ANSWERS = ("supported", "contradicted", "undecided")
MARKS = {"supported": "✔", "contradicted": "✘", "undecided": "?", "not_measurable": "–"}
HEADING = "| claim | data | of | estimate [95 % interval] | expected | verdict |"
RULE = "|---|---|---|---|---|---|"
GROUPS = {"by=size_group": "size groups", "by=composition_group": "composition groups",
          "by=phase": "phases"}  # fmt: skip

SUBJECTS = {
    "labels": "On labels",
    "linear model": "On linear models",
    "errors": "On errors of trained models",
}

CELL = [
    "subject",
    "statistic",
    "options",
    "order",
    "relation",
    "expected",
    "margin",
    "variant",
    "ablation",
]
USUAL = ("", "schnet")


def verdict_table(claims: pd.DataFrame) -> str:
    """Write the table of verdicts.

    Parameters
    ----------
    claims
        ``results/tables/claims.csv``.

    Returns
    -------
    str
        Markdown: one row a claim and dataset, moments of groups as counts; then how often each
        claim was supported, contradicted or undecided over all its measurements; then the controls.
    """
    claims = with_texts(claims)
    is_control = claims.must_be != ""
    claimed = with_corrected_verdicts(claims[~is_control])
    shown = claimed[~_minor(claimed)]
    parts = [_claims(shown), _summary(claimed), _controls(claims[is_control])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _minor(claims: pd.DataFrame) -> pd.Series:
    """Tell which measurements have an option that their statistic calls minor."""
    said = [
        not set(options.split()).isdisjoint(wording.of_statistic(name).get("MINOR", ()))
        for name, options in zip(claims.statistic, claims.options, strict=True)
    ]
    return pd.Series(said, index=claims.index, dtype=bool)


def _claims(shown: pd.DataFrame) -> str:
    lines, previous = [HEADING, RULE], ""
    datasets = wording.datasets(shown.dataset)
    models = wording.models(shown.model)
    placed = shown.assign(
        number=shown.claim.map(claim_number),
        place=shown.dataset.map(datasets.index),
        other_model=shown.model.map(lambda name: models.index(name) if name not in USUAL else -1),
        later=shown.subject != "labels",
    ).sort_values(["number", "place", "other_model", "later"], kind="stable")
    for (claim, *_), rows in placed.groupby(["claim", "dataset", "other_model"], sort=False):
        name = "" if claim == previous else f"**{wording.claim(str(claim))}**"
        about = wording.dataset(rows.iloc[0].dataset, rows.iloc[-1].model)
        stacked = ["<br>".join(column) for column in zip(*_cells(rows), strict=True)]
        lines.append(table_row(name, about, *stacked))
        previous = str(claim)
    return "\n".join(lines) if len(lines) > 2 else "No claims were measured."


def table_row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _cells(rows: pd.DataFrame) -> Iterator[list[str]]:
    """Yield what, estimate, expected and verdict, one a measurement or set of groups."""
    ranked = rows.assign(order=rows.loss.map(wording.losses(rows.loss).index))
    kind = ranked.groupby(["subject", "statistic", "options"], sort=False).ngroup()
    ranked = ranked.assign(kind=kind).sort_values(["kind", "order"], kind="stable")
    for _, part in ranked.groupby(CELL, sort=False, dropna=False):
        first = part.iloc[0]
        about = ", ".join(text for text in (first.subject, wording.loss(first.loss)) if text)
        what = f"{about}: {wording.statistic(first.statistic, first.options)}"
        setting = wording.setting(first.variant)
        what += f" ({setting})" if setting else ""
        if len(part) == 1:
            texts = [what, _estimate(first), expected(first), _verdict(first.verdict)]
        else:
            texts = [what, _range(part), expected(first), _counts(part)]
        yield [_unbroken(text) for text in texts]


def _unbroken(text: str) -> str:
    """Keep the lines of a cell one line each, so that the columns stay level."""
    return text.replace(" ", "\u00a0").replace("|", "\\|")


def _estimate(row: pd.Series) -> str:
    if row.verdict == "not_measurable":
        return "none"
    return f"{number(row.estimate)} [{number(row.ci_low)}, {number(row.ci_high)}]"


def _range(part: pd.DataFrame) -> str:
    return f"{number(part.estimate.min())} to {number(part.estimate.max())}"


def number(value: float) -> str:
    """Return two decimals, or three significant digits of a large number, with a true minus."""
    text = f"{value:.2f}" if not np.isfinite(value) or abs(value) < 100 else f"{value:.3g}"
    return ("0.00" if text == "-0.00" else text).replace("-", "−")


def expected(row: pd.Series) -> str:
    """Return what a claim expects: ``0.5 ± 0.1``, ``> 0.2`` or ``< −0.2``."""
    if row.relation == "greater":
        text = f"> {row.expected + row.margin:g}"
    elif row.relation == "less":
        text = f"< {row.expected - row.margin:g}"
    else:
        text = f"{'not ' if row.relation == 'differs' else ''}{row.expected:g} ± {row.margin:g}"
    return text.replace("-", "−")


def _verdict(answer: str) -> str:
    return f"{MARKS[answer]} {answer.replace('_', ' ')}"


def counts(verdicts: pd.Series) -> str:
    """Return ``3 supported, 1 undecided``: how often each verdict was reached."""
    found = [(int((verdicts == answer).sum()), answer) for answer in ANSWERS]
    return ", ".join(f"{n} {answer}" for n, answer in found if n)


def marks(verdicts: pd.Series) -> str:
    """Return ``3 ✔, 1 ?``: how often each verdict was reached."""
    found = [(int((verdicts == answer).sum()), MARKS[answer]) for answer in ANSWERS]
    return ", ".join(f"{n} {mark}" for n, mark in found if n)


def _counts(part: pd.DataFrame) -> str:
    options = part.iloc[0].options.split()
    kind = next((GROUPS[option] for option in options if option in GROUPS), "groups")
    kind = wording.of_statistic(part.iloc[0].statistic).get("GROUPS", kind)
    return f"{len(part)} {kind}: {marks(part.verdict)}"


def _summary(claims: pd.DataFrame) -> str:
    """Return a line on labels, on linear models and on errors: verdicts by claim."""
    lines = []
    for subject, words in SUBJECTS.items():
        rows = claims[claims.subject == subject]
        names = sorted(set(rows.claim), key=claim_number)
        texts = [f"**{name}** {counts(rows[rows.claim == name].verdict)}" for name in names]
        if texts:
            lines.append(f"- {words}, all measurements: {'; '.join(texts)}.")
    return "\n".join(lines)


def _controls(controls: pd.DataFrame) -> str:
    if controls.empty:
        return ""
    wrong = int((controls.verdict != controls.must_be).sum())
    n = len(controls)
    says = f"all {n} came out as they must" if not wrong else f"{wrong} of {n} came out wrong"
    lines = [f"Controls: {says}.", "", "| control | of | estimate [95 % interval] | expected | "
             "verdict | must be |", RULE]  # fmt: skip
    for _, control in controls.iterrows():
        what = wording.statistic(control.statistic, control.options)
        must_be = control.must_be.replace("_", " ")
        cells = (_estimate(control), expected(control), _verdict(control.verdict), must_be)
        lines.append(table_row(wording.dataset(control.dataset), what, *cells))
    return "\n".join(lines)


def run_times(cost: pd.DataFrame) -> str:
    """Write the table of what the jobs cost, the dearest first, from ``cost.csv``."""
    lines = ["| rule | jobs | time in all | longest job | peak memory |", "|---|--:|--:|--:|--:|"]
    for _, jobs in cost.sort_values("seconds", ascending=False, kind="stable").iterrows():
        times = (duration(jobs.seconds), duration(jobs.longest_seconds))
        memory = f"{jobs.peak_memory_mib:.0f} MiB"
        lines.append(table_row(jobs["rule"], str(jobs.n_jobs), *times, memory))
    total = (str(int(cost.n_jobs.sum())), duration(cost.seconds.sum()), "", "")
    return "\n".join([*lines, table_row("**all**", *total)]) + "\n"


def duration(seconds: float) -> str:
    """Return ``0.4 s``, ``12 s``, ``3 min 20 s`` or ``1 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def splice(readme_text: str, name: str, block: str) -> str:
    """Replace what stands between the markers of a generated block.

    Parameters
    ----------
    readme_text
        A text with the lines ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``.
    name
        The block's name.
    block
        Its new content.

    Raises
    ------
    PeslossError
        When a marker is missing, is there twice, or the end comes first.
    """
    start, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    for marker in (start, end):
        if readme_text.count(marker) != 1:
            n = readme_text.count(marker)
            raise PeslossError(f"README: marker {marker!r} is there {n} times; needed: once")
    pattern = re.compile(f"{re.escape(start)}.*{re.escape(end)}", re.DOTALL)
    if not pattern.search(readme_text):
        raise PeslossError(f"README: marker {end!r} comes before {start!r}")
    return pattern.sub(lambda _: f"{start}\n{block.strip()}\n{end}", readme_text)
