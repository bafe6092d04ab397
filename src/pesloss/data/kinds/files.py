"""Structures that somebody else computed: files fetched by hash, or files of one's own.

Chosen from what passes the checks, with about equal numbers in each doubling of the size, since the
questions of the suite are about size.
"""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from pesloss.data.checks import Limits
from pesloss.data.fetch import SourceFile
from pesloss.data.grouping import GroupRule, PhaseRule
from pesloss.data.labels import Labels
from pesloss.specification import PositiveInt, Strict


class Source(Strict):
    """Files of one format, and what their keys mean."""

    files: tuple[SourceFile, ...] = Field((), description="files to fetch, with URL and hash")
    paths: tuple[str, ...] = Field((), description="files of one's own, from the project's folder")
    load_atoms: str | None = Field(None, description="name of a dataset of load-atoms")
    format: str = Field("extxyz", description="file in src/pesloss/data/readers")
    labels: Labels = Field(description="keys of energy and forces, and their units")
    groups: GroupRule = Field(description="which structures go to one split together")
    phase: PhaseRule = Field(
        PhaseRule(by="constant", constant="all"),
        description="what the structures are, for claims by phase",
    )

    @field_validator("groups", mode="before")
    @classmethod
    def _rule_in_a_word(cls, groups: object) -> object:
        return {"by": groups} if isinstance(groups, str) else groups

    @field_validator("phase", mode="before")
    @classmethod
    def _phase_in_a_word(cls, phase: object) -> object:
        return {"by": "constant", "constant": phase} if isinstance(phase, str) else phase

    @model_validator(mode="after")
    def _one_origin(self) -> "Source":
        given = [name for name in ("files", "paths", "load_atoms") if getattr(self, name)]
        if len(given) != 1:
            found = ", ".join(given) or "none"
            raise ValueError(f"origin is {found}; allowed: one of files, paths and load_atoms")
        return self


class Recipe(Strict):
    """A card: where the structures come from, under what terms, and what is done to them."""

    method: str = Field("", description="how the energies were computed")
    licence: str = Field("", description="terms of use of the files")
    citation: str = Field("", description="what to cite")
    spread: str = Field("", description="how sizes and compositions are spread")
    caveats: str = Field("", description="what a reader of results should know")
    sources: tuple[Source, ...] = Field(min_length=1, description="where the structures are")
    limits: Limits = Field(Limits(), description="what is left out")
    rarest: int = Field(
        6, ge=1, description="species in fewer groups are left out with their structures"
    )
    phases: tuple[str, ...] | None = Field(None, description="keep these; left out: all")
    copies: tuple[PositiveInt, ...] = Field(
        (1,), min_length=1, description="supercells: copies of each structure along its first axis"
    )
    check_units: Literal["strict", "report"] = Field(
        "strict", description="what a failed check of units does: end the job, or be reported"
    )

    @property
    def has_forces(self) -> bool:
        """Whether every source names forces."""
        return all(source.labels.forces is not None for source in self.sources)
