"""What the data are, and the twelve claims at a glance: molecules beside bulk."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ase import Atoms

from pesloss import wording
from pesloss.data.store import read_structures
from pesloss.files import read_table
from pesloss.report import ANSWERS, MARKS

COLUMNS = (
    "dataset", "matter", "n_structures", "n_left_out", "n_atoms_min", "n_atoms_median",
    "n_atoms_max", "species", "description",
)  # fmt: skip
MATTER = {
    "drawn": "drawn as the proposal assumes",
    "molecules": "molecules",
    "mixed": "crystals and particles",
    "bulk": "bulk",
    "several": "several data sets",
}
"""Kinds of matter, in the order of columns."""
MANY = 8


def dataset_row(
    name: str, description: str, table: pd.DataFrame, structures: Sequence[Atoms], n_left_out: int
) -> dict[str, Any]:
    """Describe a dataset in one row.

    Parameters
    ----------
    name, description
        The dataset, and what its file says of it.
    table
        Its structure table: one row a structure with ``n_atoms`` and ``n_X`` of each species.
    structures
        Its structures; none where it has compositions and energies alone.
    n_left_out
        Structures that could not be used.

    Returns
    -------
    dict
        ``COLUMNS``. ``matter`` is ``bulk`` when all structures repeat in some direction,
        ``molecules`` when none does, ``mixed`` else, and ``drawn`` without geometry.
    """
    counts = {str(c).removeprefix("n_"): table[c] for c in table if str(c).startswith("n_")}
    n_atoms = counts.pop("atoms")
    species = [name for name, number in counts.items() if (number > 0).any()]
    return {
        "dataset": name,
        "matter": _matter(structures),
        "n_structures": len(table),
        "n_left_out": n_left_out,
        "n_atoms_min": int(n_atoms.min()),
        "n_atoms_median": float(n_atoms.median()),
        "n_atoms_max": int(n_atoms.max()),
        "species": " ".join(species),
        "description": description,
    }


def dataset_table(
    described: Mapping[str, str], folder: Path, watch: Callable[..., Iterable[str]] = iter
) -> pd.DataFrame:
    """Describe datasets, one row each (`dataset_row`).

    Parameters
    ----------
    described
        Descriptions of the datasets by name.
    folder
        Holds a folder of each with ``structures.csv``, and where structures have positions
        ``structures.extxyz`` and ``failures.csv``.
    watch
        Wraps the loop over the datasets.
    """
    rows = []
    for name in watch(list(described)):
        table = read_table(folder / name / "structures.csv", ("structure", "n_atoms"))
        geometry, failures = (folder / name / f for f in ("structures.extxyz", "failures.csv"))
        structures = read_structures(geometry) if geometry.is_file() else []
        n_left_out = len(read_table(failures)) if failures.is_file() else 0
        rows.append(dataset_row(name, described[name], table, structures, n_left_out))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _matter(structures: Sequence[Atoms]) -> str:
    repeated = {bool(atoms.pbc.any()) for atoms in structures}
    if not repeated:
        return "drawn"
    if len(repeated) == 2:
        return "mixed"
    return "bulk" if repeated.pop() else "molecules"


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
    claims = claims.assign(
        **{name: claims[name].fillna("").astype(str) for name in ("options", "must_be")}
    )
    claims = claims[(claims.must_be == "") & claims.claim.isin(wording.TWELVE)]
    kinds = dict(zip(datasets.dataset, datasets.matter, strict=True))
    matter = claims.dataset.map(lambda name: kinds.get(name, "several"))
    shown = [name for name in MATTER if (matter == name).any()]
    lines = ["\n".join(f"- {line}" for line in headlines(claims)), ""]
    lines += [_row("claim", *(MATTER[name] for name in shown)), _row(*["---"] * (len(shown) + 1))]
    for name in sorted(set(claims.claim), key=wording.claim_number):
        cells = [_counts(claims[(claims.claim == name) & (matter == kind)]) for kind in shown]
        lines.append(_row(wording.claim(name), *cells))
    return "\n".join(lines) + "\n"


def _counts(rows: pd.DataFrame) -> str:
    found = zip(_numbers(rows), ANSWERS, strict=True)
    return ", ".join(f"{n} {MARKS[answer]}" for n, answer in found if n).replace(" ", "\u00a0")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def data_table(datasets: pd.DataFrame) -> str:
    """Write what the data are: one row a dataset of ``results/tables/datasets.csv``."""
    heads = ("data", "structures", "atoms (median)", "species", "left out", "what it is")
    lines = [_row(*heads), _row("---", "--:", "--:", "---", "--:", "---")]
    for name in wording.ordered(datasets.dataset, wording.DATASETS):
        row = datasets[datasets.dataset == name].iloc[0]
        cells = (str(row.n_structures), atoms(row), species(row), str(row.n_left_out))
        lines.append(_row(wording.dataset(name), *cells, str(row.description)))
    return "\n".join(lines) + "\n"


def atoms(row: pd.Series) -> str:
    """Return the sizes of a dataset's structures: ``3 to 120 (21)``, smallest to largest."""
    return f"{row.n_atoms_min} to {row.n_atoms_max} ({row.n_atoms_median:g})"


def species(row: pd.Series) -> str:
    """Return the species of a dataset, or their number where they are many."""
    names = str(row.species).split()
    return " ".join(names) if len(names) <= MANY else f"{len(names)} species"
