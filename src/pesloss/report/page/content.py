"""What the pages of the report say, as plain texts and links; templates only place them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pesloss.claims import measures as statistics
from pesloss.job.provenance import PACKAGES
from pesloss.report import wording
from pesloss.report.cost import HASHES, cost_by_claim
from pesloss.report.glance import MATTER, atoms, species
from pesloss.report.verdicts import MARKS, counts, duration, expected, number
from pesloss.spec.config import Ablation, Claim
from pesloss.spec.names import claim_number


@dataclass(frozen=True)
class Link:
    """A text, and the file of the report that it leads to; no file: plain text."""

    text: str
    href: str = ""


def claim_rows(claims: pd.DataFrame, costs: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return one row a claim: its sentence, its verdicts on labels and on errors, its cost."""
    by_claim = cost_by_claim(costs).set_index("claim")
    of_labels, of_errors = (claims[claims.subject == name] for name in ("labels", "errors"))
    return [
        (
            wording.claim(name),
            counts(of_labels[of_labels.claim == name].verdict),
            counts(of_errors[of_errors.claim == name].verdict),
            _time(float(by_claim.seconds.get(name, 0.0))),
        )
        for name in claim_ids(claims)
    ]


def claim_ids(claims: pd.DataFrame) -> list[str]:
    """Return the claims that were measured, in their order."""
    return sorted(set(claims.claim), key=claim_number)


@dataclass(frozen=True)
class Known:
    """What the folder of the report holds a file or a place for."""

    datasets: frozenset[str]
    trained: frozenset[str]
    """Anchors of the datasets and models that there are runs of."""

    def dataset(self, name: str) -> Link:
        """Return the name of a dataset, with its description where there is one."""
        file = f"datasets/{name}.yaml" if name in self.datasets else ""
        return Link(wording.dataset(name), file)

    def runs(self, ablation: str, dataset: str, model: str) -> str:
        """Return where the runs of a dataset and model are listed; of several: all of them."""
        place = anchor(dataset, model)
        return f"ablations/{ablation}.html#{place if place in self.trained else 'runs'}"


def known(datasets: Iterable[str], records: pd.DataFrame) -> Known:
    """Return what the report holds, from the names of its datasets and the records of runs."""
    pairs = set(zip(records.dataset, records.model, strict=True))
    return Known(frozenset(datasets), frozenset(anchor(*pair) for pair in pairs))


def anchor(dataset: str, model: str) -> str:
    """Return the place of the runs of a dataset and model on the page of an ablation."""
    return f"{dataset}-{model}"


def verdict_rows(claims: pd.DataFrame, held: Known) -> list[dict[str, Any]]:
    """Return one row a measurement, in the order of the table, with links to what it came from.

    Parameters
    ----------
    claims
        As from `pesloss.claims.collect.with_texts`; the index is the place in ``claims.csv``.
    held
        What links may lead to.
    """
    return [_verdict_row(int(str(place)), row, held) for place, row in claims.iterrows()]


def _verdict_row(place: int, row: pd.Series, held: Known) -> dict[str, Any]:
    source = f"claims/{row.ablation}.csv"
    if row.subject == "errors":
        source = held.runs(row.ablation, row.dataset, row.model)
    interval = f"{number(row.estimate)} [{number(row.ci_low)}, {number(row.ci_high)}]"
    corrected = row.get("verdict_corrected")
    return {
        "id": f"row-{place + 2}",
        "claim": row.claim,
        "about": wording.claim(row.claim),
        "data": held.dataset(row.dataset),
        "model": wording.model(row.model),
        "loss": wording.loss(row.loss),
        "statistic": _statistic(row),
        "estimate": Link(interval, source),
        "expected": expected(row),
        "verdict": row.verdict,
        "mark": MARKS[row.verdict],
        "corrected": "" if pd.isna(corrected) else str(corrected),
        "must_be": row.must_be,
        "n_structures": f"{row.n_structures:.0f}",
        "n_seeds": "" if row.subject == "labels" else f"{row.n_seeds:.0f}",
        "to_decide": _needed(row),
        "ablation": Link(row.ablation, f"ablations/{row.ablation}.html"),
    }


def _statistic(row: pd.Series) -> str:
    words = wording.statistic(row.statistic, row.options)
    variant = "" if row.variant in ("", "base") else row.variant
    parts = [f"{row.subject}: {words}", row.group, variant]
    return ", ".join(part for part in parts if part)


def _needed(row: pd.Series) -> str:
    """Say what would decide a measurement: seeds, or times as many structures for labels."""
    if row.verdict != "undecided":
        return "decided"
    if pd.isna(row.seeds_to_decide):
        return "no number: at the margin"
    words = "× the structures" if row.subject == "labels" else "seeds"
    return f"{row.seeds_to_decide:.0f} {words}"


def data_rows(datasets: pd.DataFrame, held: Known) -> list[dict[str, Any]]:
    """Return one row a dataset: its name with a link, its sizes, species and description."""
    return [
        {
            "name": held.dataset(row.dataset),
            "matter": MATTER[row.matter],
            "n_structures": row.n_structures,
            "atoms": atoms(row),
            "species": species(row),
            "n_left_out": row.n_left_out,
            "description": row.description,
        }
        for _, row in datasets.iterrows()
    ]


def methods(ablations: Mapping[str, Ablation], held: Known) -> list[dict[str, Any]]:
    """Return what each ablation asked, of what, what it would accept, and why."""
    return [
        {
            "name": name,
            "question": ablation.question,
            "why": ablation.why or "",
            "datasets": [held.dataset(n) for n in ablation.datasets if n in held.datasets],
            "claims": [_asked(claim) for claim in statistics.claims_of(ablation, name)],
        }
        for name, ablation in ablations.items()
    ]


def _asked(claim: Claim) -> dict[str, str]:
    options = " ".join(f"{key}={value}" for key, value in claim.options.items())
    asked = pd.Series({name: getattr(claim, name) for name in ("relation", "expected", "margin")})
    return {
        "claim": claim.claim,
        "statistic": wording.statistic(claim.statistic, options) or claim.statistic,
        "says": first_line(statistics.load(claim.statistic).__doc__),
        "losses": ", ".join(map(wording.loss, claim.losses or ())),
        "expected": expected(asked),
        "level": f"{100 * claim.level:g} %",
        "why": claim.why or "",
        "must_be": claim.must_be or "",
    }


def first_line(docstring: str | None) -> str:
    """Return the first line of a docstring."""
    return (docstring or "").strip().partition("\n")[0]


def cost_rows(costs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row an ablation: its claims, runs and seconds, shared runs split and in full."""
    return [
        {
            "ablation": Link(row.ablation, f"ablations/{row.ablation}.html"),
            "claims": row.claims,
            "n_runs": f"{row.n_runs:.0f}",
            "seconds": _time(row.seconds),
            "in_full": _time(row.seconds_in_full),
        }
        for _, row in costs.iterrows()
    ]


def _time(seconds: float) -> str:
    return duration(seconds) if seconds else "none"


def run_groups(records: pd.DataFrame, runs: Sequence[str]) -> list[dict[str, Any]]:
    """Return the runs of an ablation by dataset and model, with the fields of their records."""
    chosen = records[records.run.isin(list(runs))]
    groups = chosen.groupby(["dataset", "model"], sort=True)
    return [
        {
            "id": anchor(str(dataset), str(model)),
            "title": wording.dataset(str(dataset), str(model)),
            "runs": [_run(row) for _, row in part.iterrows()],
        }
        for (dataset, model), part in groups
    ]


def _run(row: pd.Series) -> dict[str, Any]:
    return {
        "run": row.run,
        "loss": wording.loss(f"{row.energy_loss}+{row.force_loss}"),
        "metric": row.metric,
        "force_weight": f"{row.force_weight:g}",
        "seed": f"{row.seed:.0f}",
        "variant": row.variant,
        "energy": number(1e3 * row.final_energy_rmse_ev_per_atom),
        "force": number(1e3 * row.final_force_rmse_ev_per_angstrom),
        "seconds": f"{row.seconds:.0f}",
        "commit": str(row.commit),
        "hashes": [(name, str(row[f"hash_{name}"])) for name in HASHES],
        "repeat_with": row.repeat_with,
    }


def provenance(records: pd.DataFrame, preset: str) -> list[tuple[str, str]]:
    """Return where the numbers come from: preset, trainings, commits, versions."""
    found = [("preset", preset), ("trainings", str(len(records)))]
    for name in ("commit", "python", *PACKAGES):
        values = sorted(set(records[name].dropna().astype(str)))
        if values:
            found.append((name, ", ".join(values)))
    return found


def table_rows(table: pd.DataFrame) -> list[list[str]]:
    """Return the cells of any table as texts."""
    return [["" if pd.isna(v) else str(v) for v in row] for row in table.itertuples(index=False)]
