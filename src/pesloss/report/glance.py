"""The twelve claims at a glance, molecules beside bulk, and the data they are about."""

from collections.abc import Sequence

import pandas as pd

from pesloss.claims.collect import with_corrected_verdicts, with_texts
from pesloss.report import wording
from pesloss.report.verdicts import ANSWERS, marks, table_row
from pesloss.spec.names import claim_number, is_claim

MATTER = {
    "drawn": "drawn as the proposal assumes",
    "molecules": "molecules",
    "mixed": "both",
    "bulk": "bulk",
    "several": "several data sets",
}
"""Kinds of matter (`pesloss.data.overview.dataset_row`), in the order of columns."""
MANY = 8


def headlines(claims: pd.DataFrame) -> list[str]:
    """Return the answer in sentences: growth of labels, of errors, and all verdicts.

    Parameters
    ----------
    claims
        Measurements that are no controls, with texts in ``options``, none missing.
    """
    found = []
    growth = (
        ("label_exponent", "estimator=gamma", "Label deviations grow as √N", "data sets"),
        (
            "error_exponent",
            "",
            "Errors of trained models grow as √N",
            "combinations of data, model, loss and settings",
        ),
    )
    for name, options, words, units in growth:
        rows = claims[(claims.statistic == name) & (claims.options == options)]
        if len(rows):
            supported, contradicted, undecided = _numbers(rows)
            found.append(
                f"{words}: true for {supported} of {len(rows)} {units}, false for "
                f"{contradicted}, not decided for {undecided}."
            )
    supported, contradicted, undecided = _numbers(claims)
    found.append(
        f"All {len(claims)} measurements of {claims.claim.nunique()} claims: "
        f"{supported} supported, {contradicted} contradicted, {undecided} undecided."
    )
    return found


def answers(
    claims: pd.DataFrame, datasets: pd.DataFrame, advice: str, n_runs: int
) -> list[tuple[str, str]]:
    """Return three questions and their answers: is √N true, which loss, how sure.

    Parameters
    ----------
    claims
        ``results/tables/claims.csv``.
    datasets
        ``results/tables/datasets.csv``; drawn data, whose truth is planted, are not counted.
    advice
        The first section of the guide, without its heading; empty where no guide is kept.
    n_runs
        Trainings behind it.
    """
    claims = with_texts(claims)
    controls = claims[claims.must_be != ""]
    drawn = set(datasets.dataset[datasets.matter == "drawn"])
    tested = claims[(claims.must_be == "") & claims.claim.map(is_claim).astype(bool)]
    tested = tested[~tested.dataset.isin(drawn)]
    *growth_lines, every = headlines(with_corrected_verdicts(tested))
    growth = " ".join(growth_lines)
    right = int((controls.verdict == controls.must_be).sum())
    sure = (
        f"{every[:-1]}, corrected for their number (Holm), from {n_runs} trainings; {right} of "
        f"{len(controls)} controls came out as they must."
    )
    return [
        ("Is √N true?", growth),
        ("Which loss?", advice or "Not decided in these results."),
        ("How sure?", sure),
    ]


def answered(answers: Sequence[tuple[str, str]]) -> str:
    """Write questions and answers as Markdown."""
    return "\n\n".join(f"**{question}** {answer}" for question, answer in answers)


def _numbers(rows: pd.DataFrame) -> list[int]:
    return [int((rows.verdict == answer).sum()) for answer in ANSWERS]


def claim_table(claims: pd.DataFrame, datasets: pd.DataFrame) -> str:
    """Write how often each of the twelve claims was supported, contradicted, undecided.

    Parameters
    ----------
    claims
        ``results/tables/claims.csv``.
    datasets
        ``results/tables/datasets.csv``.

    Returns
    -------
    str
        Markdown: the `headlines`; then one row a claim, one column a kind of matter that was
        measured. Controls and questions beyond the claims are not counted.
    """
    claims = with_texts(claims)
    claims = claims[(claims.must_be == "") & claims.claim.map(is_claim).astype(bool)]
    claims = with_corrected_verdicts(claims)
    kinds = dict(zip(datasets.dataset, datasets.matter, strict=True))
    matter = claims.dataset.map(lambda name: kinds.get(name, "several"))
    shown = [name for name in MATTER if (matter == name).any()]
    lines = ["\n".join(f"- {line}" for line in headlines(claims)), ""]
    lines += [
        table_row("claim", *(MATTER[name] for name in shown)),
        table_row(*["---"] * (len(shown) + 1)),
    ]
    for name in sorted(set(claims.claim), key=claim_number):
        verdicts = claims[claims.claim == name].verdict
        cells = [marks(verdicts[matter == kind]).replace(" ", "\u00a0") for kind in shown]
        lines.append(table_row(wording.claim(name), *cells))
    return "\n".join(lines) + "\n"


def data_table(datasets: pd.DataFrame) -> str:
    """Write what the data are: one row a dataset of ``results/tables/datasets.csv``."""
    heads = ("data", "structures", "atoms (median)", "species", "left out", "what it is")
    lines = [table_row(*heads), table_row("---", "--:", "--:", "---", "--:", "---")]
    for name in wording.datasets(datasets.dataset):
        about = datasets[datasets.dataset == name].iloc[0]
        cells = (str(about.n_structures), atoms(about), species(about), str(about.n_left_out))
        lines.append(table_row(wording.dataset(name), *cells, str(about.description)))
    return "\n".join(lines) + "\n"


def atoms(about: pd.Series) -> str:
    """Return the sizes of a dataset's structures: ``3 to 120 (21)``, smallest to largest."""
    return f"{about.n_atoms_min} to {about.n_atoms_max} ({about.n_atoms_median:g})"


def species(about: pd.Series) -> str:
    """Return the species of a dataset, or their number where they are many."""
    names = str(about.species).split()
    return " ".join(names) if len(names) <= MANY else f"{len(names)} species"
