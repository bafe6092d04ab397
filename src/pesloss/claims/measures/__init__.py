"""Statistics of claims, one file each, found by file name.

A statistic of labels has ``SCOPE = "labels"`` and ``measure(data: LabelData, options, sampling)``;
one of trained models has ``SCOPE = "runs"`` and ``measure(data: Comparison, options, sampling)``.
One that needs several datasets, models or variants at once has ``SCOPE = "ablation"`` and
``measure(data: Study, options, sampling)``. All yield measurements.

What a statistic needs beside labels and errors it names: ``INPUTS``, results of a dataset such as
``"linear/{dataset}.csv"``, and ``RUN_INPUTS``, files of a run beside its record and the errors of
its structures; a table that a rule adds to a run has its manifest there too. The rules that make
them live in ``workflow/rules/ablations``. ``SUBJECT`` says what it is about, where that is neither
labels nor errors of trained models.

``EXPECTED`` and ``MARGIN`` hold for claims that name none of their own, and ``WHY`` says where they
come from. Each may depend on an option: ``{"moment=mean": 0, "": 1}``, of which the first that is
chosen counts, and the one without a name otherwise.

``TITLE`` and ``WORDS`` are what readers see of the statistic and of its options, ``GROUPS`` what
its groups are called where no option says it. Measurements with an option of ``MINOR`` are left out
of the table of verdicts, not of the counts: another of the claim says nearly the same.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pesloss.job.errors import PeslossError, wrong_value
from pesloss.spec.config import Ablation, Claim, ClaimSpec, repeated
from pesloss.spec.yaml_models import parse


def names() -> list[str]:
    """Return the names of the statistics: the files of this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem[0] != "_")


def load(name: str, where: str = "claim", options: Mapping[str, Any] | None = None) -> ModuleType:
    """Return the statistic of that name.

    Parameters
    ----------
    name
        Stem of a file of this folder.
    where
        File that names it.
    options
        Options it is to be given; they are checked.

    Raises
    ------
    PeslossError
        When there is no such file, option or value; the message lists those there are.
    """
    if name not in names():
        raise wrong_value(where, "statistic", name, names())
    module = import_module(f"{__name__}.{name}")
    known = getattr(module, "OPTIONS", {})
    for key, value in (options or {}).items():
        if key not in known:
            raise wrong_value(where, f"option of {name}", key, sorted(known) or "none")
        if value not in known[key]:
            raise wrong_value(where, f"option {key} of {name}", value, known[key])
    return module


def claims_of(ablation: Ablation, where: str) -> tuple[Claim, ...]:
    """Return the claims of an ablation, with the values of their statistics where they name none.

    Parameters
    ----------
    ablation
        As its file says it.
    where
        The file.

    Raises
    ------
    PeslossError
        When neither a claim nor its statistic has an expected value or a margin, or a claim says
        with these what another says.
    """
    claims = tuple(
        _completed(claim, where, f"claims.{place}") for place, claim in enumerate(ablation.claims)
    )
    twice = repeated(claims)
    if twice is not None:
        raise PeslossError(f"{where}: claims: {twice} is listed twice; allowed: once")
    return claims


def completed(ablation: Ablation, where: str) -> Ablation:
    """Return an ablation with the claims of `claims_of`, which reads nothing more into them."""
    return ablation.model_copy(update={"claims": claims_of(ablation, where)})


def _completed(claim: ClaimSpec, where: str, key: str) -> Claim:
    usual = usual_values(claim.statistic, claim.options, where)
    if claim.expected is not None or claim.margin is not None:
        usual.pop("why", None)  # it explains other values
    own = {name: value for name, value in dict(claim).items() if value is not None}
    found = {**usual, **own}
    for name in ("expected", "margin"):
        if name not in found:
            raise PeslossError(
                f"{where}: {key}.{name} is missing; only a statistic with {name.upper()} in its "
                f"file may leave it out, {claim.statistic} has none"
            )
    return parse(Claim, found, f"{where}: {key}")


def usual_values(
    statistic: str, options: Mapping[str, Any], where: str = "claim"
) -> dict[str, Any]:
    """Return what a statistic says under its options of ``expected``, ``margin`` and ``why``."""
    module = load(statistic, where, options)
    known = getattr(module, "OPTIONS", {})
    chosen = {key: options.get(key, allowed[0]) for key, allowed in known.items()}
    found: dict[str, Any] = {}
    for name in ("expected", "margin", "why"):
        said = getattr(module, name.upper(), None)
        value = _under(chosen, said) if isinstance(said, Mapping) else said
        found |= {} if value is None else {name: value}
    return found


def _under(options: Mapping[str, Any], said: Mapping[str, Any]) -> Any:
    """Return what is said under the first option that is chosen, or else under none."""
    chosen = {f"{key}={value}" for key, value in options.items()}
    return next((value for key, value in said.items() if key in chosen), said.get(""))
