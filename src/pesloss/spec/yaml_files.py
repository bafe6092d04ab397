"""YAML files that say one thing: what PyYAML passes in silence is refused, with file and line."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pesloss.job.errors import PeslossError, shown

LARGEST = 2_000_000  # bytes; the largest data card of the suite has 5,000
MOST_VALUES = 100_000  # once aliases are written out
STRING, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NOBODYS = re.compile(r"\..*|.*~|#.*#|README(\.md)?")  # hidden, backups of editors, explanations


class _Loader(yaml.SafeLoader):
    """Numbers as YAML 1.2 has them; no key twice, no tags, no aliases without end."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise _refused(event.start_mark, f"tag is {shown(event.tag)}; allowed: none")
        node: Any = super().compose_node(parent, index)
        if not isinstance(event, yaml.AliasEvent):
            self.sizes[id(node)] = 1 + sum(self.sizes[id(part)] for part in _parts(node))
        elif id(node) not in self.sizes:
            raise _refused(event.start_mark, f"alias {event.anchor!r} stands within itself")
        if self.sizes[id(node)] > MOST_VALUES:
            raise _refused(event.start_mark, f"more than {MOST_VALUES} values")
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag not in (STRING, MERGE):
                what = shown(key.value) if isinstance(key, yaml.ScalarNode) else "no text"
                raise _refused(
                    key.start_mark, f"key is {what}; allowed: text, in quotes if need be"
                )
            if key.value in seen:
                raise _refused(key.start_mark, f"key {shown(key.value)} is repeated; allowed: once")
            seen.add(key.value)
        return node


# YAML 1.1 reads 010 as eight, 1:30 as ninety, 1_0 as ten and 1e-3 as text
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
     list("yYnNtTfFoO")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
     r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):  # fmt: skip
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first
    )


class _Refused(yaml.MarkedYAMLError):
    """What is YAML but not allowed here."""


def _refused(mark: Any, problem: str) -> _Refused:
    return _Refused(problem=problem, problem_mark=mark)


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Read one YAML document: keys with values.

    Raises
    ------
    PeslossError
        In one line, with that of the mistake: the file is missing, is none, is too large or is no
        YAML; it is empty or no mapping; a key is repeated or no text; a value has a tag.
    """
    content = parse_yaml(text_of(path), str(path))
    if not isinstance(content, dict):
        what = "empty" if content is None else shown(content)
        raise PeslossError(f"{path}: content is {what}; allowed: keys with values")
    return content


def parse_yaml(text: str, where: str) -> Any:
    """Return the value of one YAML document; errors as ``read_yaml``, of the file ``where``."""
    try:
        return _Loader(text, Path(where).name).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark, what = error.problem_mark, " ".join(str(error.problem).split())
        what = what if isinstance(error, _Refused) else f"not YAML ({what})"
        line = f"line {mark.line + 1}: " if mark else ""
        raise PeslossError(f"{where}: {line}{what}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a whole number of 5,000 digits
        raise PeslossError(f"{where}: not YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise PeslossError(f"{where}: not YAML (values within values without end)") from None


def text_of(path: Path | str) -> str:
    """Return the text of a regular file of moderate size; a pipe or device is not waited for.

    Raises
    ------
    PeslossError
        In one line: the file is missing, is none, is too large or is no UTF-8 text.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise PeslossError(f"{path}: not a file but a folder, pipe or device")
        if found.st_size > LARGEST:
            size = f"{found.st_size} bytes"
            raise PeslossError(f"{path}: size is {size}; allowed: up to {LARGEST} bytes")
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise PeslossError(f"{path}: no such file") from None
    except OSError as error:
        raise PeslossError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        byte = f"byte {error.object[error.start]:#04x} at place {error.start + 1}"
        raise PeslossError(f"{path}: not YAML (no UTF-8 text: {byte})") from None


def named_files(folder: Path | str) -> dict[str, Path]:
    """Return the files ``NAME.yaml`` of a folder by name.

    Hidden files, backups of editors and a README are nobody's configuration. Anything else would
    be ignored in silence, so it is refused.

    Raises
    ------
    PeslossError
        In one line: there is no such folder, or something else lies in it. Names are parts of
        paths and patterns: letters, digits, ``_`` and ``-``.
    """
    found = {}
    for name in names_in(folder):
        stem, suffix = os.path.splitext(name)
        if suffix != ".yaml" or not NAME.fullmatch(stem):
            allowed = "NAME.yaml, NAME of letters, digits, _ and -"
            raise PeslossError(f"{folder}: file is {shown(name)}; allowed: {allowed}")
        found[stem] = Path(folder) / name
    return found


def names_in(folder: Path | str) -> list[str]:
    """Return the sorted names in a folder but for those that are nobody's configuration."""
    try:
        return sorted(name for name in os.listdir(folder) if not NOBODYS.fullmatch(name))
    except OSError as error:
        raise PeslossError(f"{folder}: not a folder that can be read ({error.strerror})") from None
