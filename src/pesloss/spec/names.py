"""What datasets, models and claims are called: titles and places that stand in their files."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from pydantic import Field

from pesloss.spec.yaml_models import Strict

CLAIM = re.compile(r"([CQ])([1-9][0-9]{0,3})")
LAST = 10**6  # place of what names none
# One line, and nothing that ends a cell of a table or begins a formula in a figure.
Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^|$\r\n]+$")]


class Titled(Strict):
    """A thing with a name for readers.

    Neither key is part of ``model_dump``: they change no number, and a rule that has the dump as a
    parameter is not planned again for another title.
    """

    title: Title | None = Field(
        None, exclude=True, description="what readers see; left out: its name"
    )
    place: int | None = Field(
        None, ge=0, lt=LAST, exclude=True, description="place among others; left out: after them"
    )


class ClaimText(Strict):
    """config/claims/NAME.yaml: a claim (C and a number), or a question beyond them (Q and one)."""

    title: Title = Field(description="the claim in a few words")


@dataclass(frozen=True)
class Names:
    """Titles by name, in the order in which they are shown."""

    datasets: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, list[tuple[str, str]]]:
        """Return what a rule has as a parameter: ``Names.of`` makes it names again."""
        return {kind: list(titles.items()) for kind, titles in asdict(self).items()}

    @classmethod
    def of(cls, plain: Mapping[str, Iterable[tuple[str, str]]]) -> "Names":
        """Return the names of a parameter of a rule."""
        return cls(**{kind: dict(pairs) for kind, pairs in plain.items()})


def titles(things: Mapping[str, Titled]) -> dict[str, str]:
    """Return the titles of things that name a title or a place, by place and name."""
    order = sorted(things, key=lambda name: (_place(things[name]), name))
    shown = [name for name in order if things[name].title or _place(things[name]) < LAST]
    return {name: things[name].title or plain_name(name) for name in shown}


def _place(thing: Titled) -> int:
    return LAST if thing.place is None else thing.place


def plain_name(name: str) -> str:
    """Return what a thing without a title is called."""
    return name.replace("_", " ")


def claim_number(name: str) -> int:
    """Return a number that sorts C10 after C9, questions after claims, and all else after these."""
    found = CLAIM.fullmatch(name)
    return LAST if found is None else int(found[2]) + (0 if found[1] == "C" else LAST // 2)


def is_claim(name: str) -> bool:
    """Tell whether it is one of the claims, no question beyond them."""
    return name.startswith("C")
