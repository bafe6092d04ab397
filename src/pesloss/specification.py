"""Specifications read from YAML: strict, immutable, with one-line errors."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pesloss.errors import PeslossError, wrong_value

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


class Strict(BaseModel):
    """Base of every specification: immutable, and no key is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


T = TypeVar("T", bound=BaseModel)


def parse(spec: type[T], content: Any, where: str) -> T:
    """Check ``content`` against ``spec``.

    Raises
    ------
    PeslossError
        One line that names the file ``where``, the key, the value and what is allowed.
    """
    try:
        return spec.model_validate(content)
    except ValidationError as error:
        raise PeslossError(_one_line(spec, error, where)) from None


def _one_line(spec: type[BaseModel], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "content"
    if first["type"] == "extra_forbidden":
        holder = _spec_at(spec, first["loc"][:-1])
        return f"{where}: unknown key {key!r}; allowed: {', '.join(sorted(holder.model_fields))}"
    if first["type"] == "missing":
        return f"{where}: key {key!r} is missing ({first['msg'].lower()})"
    if first["type"] == "value_error" and not first["loc"]:
        return f"{where}: {first['ctx']['error']}"
    return f"{where}: {key} is {first['input']!r}; {first['msg'].lower()}"


def _spec_at(spec: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, str) and part in spec.model_fields:
            spec = next(_specs_in(spec.model_fields[part].annotation), spec)
    return spec


def _specs_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _specs_in(inner)


def read_yaml(path: Path | str) -> Any:
    """Read one YAML document.

    Raises
    ------
    PeslossError
        When the file is missing or is no YAML, with the line of the mistake.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise PeslossError(f"{path}: no such file") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise PeslossError(f"{path}: not YAML ({' '.join(str(error).split())})") from None


def load(spec: type[T], path: Path | str) -> T:
    """Read the YAML file ``path`` and check it against ``spec``."""
    return parse(spec, read_yaml(path), str(path))


def load_all(spec: type[T], folder: Path | str) -> dict[str, T]:
    """Read every ``*.yaml`` in ``folder``; the name of an entry is its file's stem."""
    return {path.stem: load(spec, path) for path in sorted(Path(folder).glob("*.yaml"))}


def check_names(where: str, key: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first of ``names`` that is not ``known``."""
    known = sorted(known)
    for name in names:
        if name not in known:
            raise wrong_value(where, key, name, known)
