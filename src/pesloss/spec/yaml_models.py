"""Specifications read from YAML: strict, immutable, with one-line errors."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from pesloss.job.errors import SHOWN, PeslossError, shown, wrong_value
from pesloss.spec.yaml_files import named_files
from pesloss.spec.yaml_files import read_yaml as read_yaml

EMPTY = "empty; allowed: at least 1 entry"
PositiveInt = Annotated[int, Field(gt=0, le=10**12)]
PositiveFloat = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0, le=10**7)]
Size = Annotated[int, Field(gt=0, le=10**5)]


def _in_order(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"{limits[0]:g} before {limits[1]:g}; allowed: the lower limit first")
    return limits


NotNegative = Annotated[float, Field(ge=0, le=1e6)]
Range = Annotated[tuple[NotNegative, NotNegative], AfterValidator(_in_order)]


class Strict(BaseModel):
    """Base of every specification: immutable, no key ignored, no type guessed, nothing vanishing.

    What runs and claims are made of are products of lists: with an empty one they vanish without a
    word. So no list and no mapping may be given empty, but for those that are empty when left out,
    and no list may have an entry twice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _yaml_lists_are_tuples(cls, value: object) -> object:
        return _with_tuples(value)

    @field_validator("*", mode="after")
    @classmethod
    def _nothing_is_empty_or_repeated(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        is_default = value == field.get_default(call_default_factory=True)
        if Any not in get_args(field.annotation) and not (is_default and not value):
            _check_collections(value, field)
        return value


def _with_tuples(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(map(_with_tuples, value))
    if isinstance(value, dict):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    return value


def _check_collections(value: object, field: FieldInfo) -> None:
    for inner in _collections(value):
        if not inner:
            raise PydanticCustomError("empty", EMPTY)
        if isinstance(inner, tuple) and not _has_fixed_length(field.annotation):
            _check_distinct(inner)


def _collections(value: object) -> Iterator[tuple[Any, ...] | dict[Any, Any]]:
    """Yield a collection and those in it, but for those of other specifications."""
    if isinstance(value, tuple | dict):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _collections(inner)


def _has_fixed_length(annotation: Any) -> bool:
    """Tell whether a type is or holds a tuple such as two limits, which may be equal."""
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple and Ellipsis not in arguments:
        return True
    return any(_has_fixed_length(inner) for inner in arguments)


def _check_distinct(entries: tuple[Any, ...]) -> None:
    for place, entry in enumerate(entries):
        if entry in entries[:place]:
            what = str(entry)[:SHOWN] if isinstance(entry, BaseModel) else shown(entry)
            said = "{what} is listed twice; allowed: once"
            raise PydanticCustomError("repeated", said, {"what": what})


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
        raise PeslossError(" ".join(_one_line(spec, error, content, where).split())) from None


def _one_line(spec: type[BaseModel], error: ValidationError, content: Any, where: str) -> str:
    """Describe the mistake that lies deepest: of a union, the member that fits best."""
    errors = [(_keys(e, content), e) for e in error.errors(include_url=False)]
    keys, first = max(errors, key=lambda pair: (len(pair[0]), pair[1]["type"] == "extra_forbidden"))
    return f"{where}: {_described(spec, keys, first)}"


def _described(spec: type[BaseModel], keys: tuple[int | str, ...], error: ErrorDetails) -> str:
    kind, value, key = error["type"], error["input"], ".".join(map(str, keys)) or "content"
    if kind == "extra_forbidden":
        allowed = ", ".join(sorted(_spec_at(spec, keys[:-1]).model_fields))
        return f"unknown key {key!r}; allowed: {allowed}"
    if kind == "missing":
        return f"key {key!r} is missing"
    if kind == "repeated":
        return f"{key}: {error['msg']}"
    if kind == "too_short" and not value:
        return f"{key} is {_plain(value)}; {EMPTY}"
    said = str(error["ctx"]["error"]) if kind == "value_error" else _in_yaml(error)
    if isinstance(value, Mapping | BaseModel) and kind == "value_error":
        return f"{key}: {said}" if keys and not said.startswith(key) else said
    return f"{key} is {shown(_plain(value))}; {said}"


def _plain(value: Any) -> Any:
    """Return a value with lists as YAML writes them."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _in_yaml(error: ErrorDetails) -> str:
    """Return pydantic's message with the words of YAML, and why a number may be text."""
    said = error["msg"][0].lower() + error["msg"][1:].partition(" or instance of ")[0]
    said = said.replace("tuple", "list").replace("dictionary", "mapping of keys")
    is_number = error["type"].split("_")[0] in ("int", "float")
    text = isinstance(error["input"], str)
    return f"{said}, written without quotes or leading zeros" if is_number and text else said


def _keys(error: ErrorDetails, content: Any) -> tuple[int | str, ...]:
    """Return the keys on the way to a mistake, without the names of pydantic's own steps."""
    keys: list[int | str] = []
    for part in error["loc"]:
        found, content = _inside(content, part)
        if found:
            keys.append(part)
    return (*keys, error["loc"][-1]) if error["type"] == "missing" else tuple(keys)


def _inside(content: Any, part: int | str) -> tuple[bool, Any]:
    """Return whether there is such a part, and it, or else the content as it was."""
    if isinstance(content, Mapping) and part in content:
        return True, content[part]
    if isinstance(content, list | tuple) and isinstance(part, int) and part < len(content):
        return True, content[part]
    if isinstance(content, BaseModel) and part in type(content).model_fields:
        return True, getattr(content, str(part))
    return False, content


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


def load(spec: type[T], path: Path | str) -> T:
    """Read the YAML file ``path`` and check it against ``spec``."""
    return parse(spec, read_yaml(path), str(path))


def load_all(spec: type[T], folder: Path | str) -> dict[str, T]:
    """Read every file ``NAME.yaml`` in ``folder``, in which nothing else may lie, by name."""
    return {name: load(spec, path) for name, path in named_files(folder).items()}


def check_names(where: str, key: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first of ``names`` that is not ``known``."""
    known = sorted(known)
    for name in names:
        if name not in known:
            raise wrong_value(where, key, name, known)
