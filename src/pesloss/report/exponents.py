"""How labels and errors grow with size, dataset by dataset: the README's table and the whole."""

import pandas as pd

from pesloss.claims.collect import with_corrected_verdicts, with_texts
from pesloss.report import wording
from pesloss.report.verdicts import MARKS, marks, number, table_row
from pesloss.spec.run import BASE

PRIMARY = ("data", "labels", "errors of trained models, all losses", "best p, exact fits")


def exponent_table(claims: pd.DataFrame, best: pd.DataFrame | None = None) -> str:
    """Write the exponents of labels (C2) and of errors (C7) side by side.

    Parameters
    ----------
    claims
        ``results/tables/claims.csv``.
    best
        ``results/tables/best_exponent.csv``: the best p of models fitted exactly.

    Returns
    -------
    str
        Markdown: one row a dataset, model and length of training; exponents with 95 % intervals and
        the verdict on √N; within one phase the range over phases (and losses) and how many are √N;
        the best p of weights 1/N^p for a linear model.
    """
    labels, energies, within = _growths(claims)
    losses = wording.losses(energies.loss)
    heads = ["data", "labels", "labels within one phase"]
    heads += [f"errors, {wording.loss(name)}" for name in losses]
    heads += ["errors within one phase, all losses"] if len(within) else []
    heads += [] if best is None else ["best p, linear model"]
    lines = [table_row(*heads), table_row(*["---"] * len(heads))]
    for dataset in wording.datasets(labels.dataset):
        about, trained = labels[labels.dataset == dataset], energies[energies.dataset == dataset]
        for model in wording.models(trained.model) or [""]:
            errors = trained[trained.model == model]
            cells = [_cell(errors[errors.loss == loss]) for loss in losses]
            first = model in ("", "schnet")
            own = [_cell(about[about.options == "estimator=gamma"]), _phases(about)]
            if len(within):
                chosen = (within.dataset == dataset) & (within.model == model)
                cells.append(_phases(within[chosen]))
            if best is not None:
                cells.append(_best(best[best.dataset == dataset]) if first else "")
            name = wording.dataset(dataset, model)
            lines.append(table_row(name, *(own if first else ["", ""]), *cells))
    return "\n".join(lines) + "\n"


def primary_table(
    claims: pd.DataFrame, datasets: pd.DataFrame, best: pd.DataFrame | None = None
) -> str:
    """Write the README's table: one row a dataset, exponents of labels and of errors.

    Parameters
    ----------
    claims, best
        As for `exponent_table`.
    datasets
        ``results/tables/datasets.csv``; drawn data, whose exponents are planted, are left out.

    Returns
    -------
    str
        Markdown: exponent of the labels with its verdict; range of the exponents of errors over
        losses at the usual settings, and how many of them are √N; best p of a linear model.
    """
    rows = primary_rows(claims, datasets, best)
    lines = [table_row(*PRIMARY), table_row(*["---"] * len(PRIMARY))]
    return "\n".join([*lines, *(table_row(*row) for row in rows)]) + "\n"


def primary_rows(
    claims: pd.DataFrame, datasets: pd.DataFrame, best: pd.DataFrame | None = None
) -> list[tuple[str, ...]]:
    """Return the rows of `primary_table` under the heads ``PRIMARY``."""
    labels, energies, _ = _growths(claims)
    rows: list[tuple[str, ...]] = []
    found = set(labels.dataset) - set(datasets.dataset[datasets.matter == "drawn"])
    for dataset in wording.datasets(found):
        about = labels[(labels.dataset == dataset) & (labels.options == "estimator=gamma")]
        errors = energies[(energies.dataset == dataset) & energies.model.isin(["", "schnet"])]
        p = "" if best is None else _best(best[best.dataset == dataset])
        rows.append((wording.dataset(dataset), _cell(about), _counted(errors), p))
    return rows


def _growths(claims: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the measured exponents of labels, of errors, and of errors within one phase."""
    claims = with_texts(claims)
    claims = with_corrected_verdicts(usual_or_longer(claims[claims.must_be == ""]))
    errors = claims[(claims.claim == "C7") & (claims.statistic == "error_exponent")]
    labels = claims[(claims.claim == "C2") & (claims.statistic == "label_exponent")]
    return labels, errors[errors.options == ""], errors[errors.options == "by=phase"]


def usual_or_longer(claims: pd.DataFrame) -> pd.DataFrame:
    """Keep claims on the usual settings and on other lengths of training.

    Parameters
    ----------
    claims
        Claims with texts in ``model`` and ``variant``, none missing.

    Returns
    -------
    DataFrame
        Their rows; a training of another length is a model of its own, named as
        ``wording.trained`` does.
    """
    longer = claims.variant.str.match(r"n_steps=\d+$").astype(bool)
    kept = claims[claims.variant.isin(["", BASE]) | longer]
    names = [wording.trained(*pair) for pair in zip(kept.model, kept.variant, strict=True)]
    return kept.assign(model=names)


def _best(rows: pd.DataFrame) -> str:
    if rows.empty or rows.best_p_variance.isna().all():
        return ""
    row = rows.iloc[0]
    ends = f"[{number(row.best_p_variance_low)}, {number(row.best_p_variance_high)}]"
    return f"{number(row.best_p_variance)} {ends}"


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    row = rows.iloc[0]
    interval = f"[{number(row.ci_low)}, {number(row.ci_high)}]"
    return f"{number(row.estimate)} {interval} {MARKS[str(row.verdict)]}"


def _phases(rows: pd.DataFrame) -> str:
    return _counted(rows[rows.options == "by=phase"])


def _counted(found: pd.DataFrame) -> str:
    """Return the range of exponents and how often each verdict was reached."""
    if found.empty:
        return ""
    shown = marks(found.verdict)
    low, high = number(found.estimate.min()), number(found.estimate.max())
    return f"{low} ({shown})" if len(found) == 1 else f"{low} to {high} ({shown})"
