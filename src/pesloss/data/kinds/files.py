"""Structures that somebody else computed: files fetched by hash, or files of one's own.

Chosen from what passes the checks, with about equal numbers in each doubling of the size, since the
questions of the suite are about size.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from pesloss.data.checks import Limits
from pesloss.data.fetch import SourceFile
from pesloss.data.grouping import GroupRule, PhaseRule
from pesloss.data.label_units import Labels
from pesloss.data.own_files import all_matched
from pesloss.data.readers import reader_names
from pesloss.spec.yaml_models import PositiveInt, Strict


def _known_format(format: str) -> str:
    if format not in reader_names():
        raise ValueError(f"{format!r} is no format; allowed: {', '.join(reader_names())}")
    return format


def _usable_pattern(pattern: str) -> str:
    if not pattern.strip() or "\0" in pattern:
        raise ValueError("allowed: a file, a folder or a pattern such as data/*.xyz")
    return pattern


Format = Annotated[str, AfterValidator(_known_format)]
Pattern = Annotated[str, AfterValidator(_usable_pattern)]


class Source(Strict):
    """Files of one format, and what their keys mean."""

    files: tuple[SourceFile, ...] = Field((), description="files to fetch, with URL and hash")
    paths: tuple[Pattern, ...] = Field(
        (),
        description="files of one's own, from the project's folder: names, folders, or patterns "
        "with *, ? and ** (any folders); ~ is the home folder",
    )
    load_atoms: str | None = Field(None, description="name of a dataset of load-atoms")
    format: Format = Field("extxyz", description="file in src/pesloss/data/readers")
    labels: Labels = Field(description="keys of energy and forces, and their units")
    groups: GroupRule = Field(description="which structures go to one split together")
    phase: PhaseRule = Field(
        PhaseRule(by="constant", constant="all"),
        description="what the structures are, for claims by phase",
    )

    @field_validator("paths", mode="before")
    @classmethod
    def _one_path(cls, paths: object) -> object:
        return (paths,) if isinstance(paths, str) else paths

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

    TEXTS: ClassVar = ("method", "licence", "citation", "spread", "caveats")
    """For readers alone: no structure depends on them."""

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

    def own_files(self) -> list[str]:
        """Return the files that ``paths`` of all sources name now.

        Raises
        ------
        PeslossError
            When one cannot be had, or is there twice.
        """
        return all_matched(path for source in self.sources for path in source.paths)

    @property
    def has_forces(self) -> bool:
        """Whether every source names forces."""
        return all(source.labels.forces is not None for source in self.sources)
