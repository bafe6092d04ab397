"""Which code of the package a module depends on, read from its import statements."""

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
SHOWN = ("TITLE", "PLACE", "COLOUR", "MARKER", "WORDS", "GROUPS", "MINOR", "WHY")
"""Constants at the top of a file that say how its thing is shown, and change no number."""


@cache
def code_digest(*modules: str) -> str:
    """Return a SHA-256 of what the files compute that ``modules`` import inside this package.

    Themselves included; statically, by following import statements. What is imported by name at
    run time (losses, statistics of claims, figures, kinds of datasets) has to be named beside.

    A rule has it as a parameter, and is planned again when it changes. As input files the same
    code would be asked for its age again and again while jobs wait: two seconds a job.

    Comments, docstrings, line breaks, the places of files and constants that say how a thing is
    shown (``SHOWN``) do not count: a file that is moved, renamed or explained retrains nothing.
    Each imported name counts with the content of the file it comes from, so that a name taken from
    elsewhere is a change.
    """
    sha = hashlib.sha256()
    for name in modules:
        sha.update(_linked(path).encode() if (path := _file(name)) else name.encode())
    for digest in sorted({_linked(path) for path in _closure(modules).values()}):
        sha.update(digest.encode())
    return sha.hexdigest()


@cache
def constants(path: Path) -> dict[str, Any]:
    """Return the literals assigned at the top of a file, without importing it."""
    found: dict[str, Any] = {}
    for node in _tree(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def presentation_digest(*folders: str) -> str:
    """Return a SHA-256 of how the files of folders of the package are shown."""
    paths = [path for folder in folders for path in sorted((PACKAGE / folder).glob("*.py"))]
    shown = [(p.name, {k: v for k, v in constants(p).items() if k in SHOWN}) for p in paths]
    return _hashed(repr(shown))


def _closure(modules: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += [*_code(path).imports, name.rpartition(".")[0]]
    return found


@cache
def _file(name: str) -> Path | None:
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return None
    base = PACKAGE.joinpath(*parts[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file() and (len(parts) > 1 or path.name == "__init__.py"):
            return path
    return None


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class _Code:
    """What a file says: read once, since a job asks for it and takes a second in all."""

    plain: str  # without comments, docstrings and imports of this package
    imports: tuple[str, ...]  # dotted names, those that may be one included
    own: tuple[tuple[str, str, str], ...]  # module of this package, name, known as


@cache
def _code(path: Path) -> _Code:
    """Read a file of the package.

    Files of C whose names begin with that of the module, which it compiles, are part of it.
    """
    tree = _tree(path)
    imports, own = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imports += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            if _is_own(node):
                own += [(node.module, a.name, a.asname or a.name) for a in node.names]
    tree.body = [node for node in tree.body if not _is_shown(node)]
    compiled = sorted(path.parent.glob(f"{path.stem}*.c"))
    beside = "\n".join(source.read_text(encoding="utf-8") for source in compiled)
    words = re.sub(r"/\*.*?\*/", " ", beside, flags=re.DOTALL).split(" ")
    plain = " ".join([ast.dump(_Plain().visit(tree)), *filter(None, words)])
    return _Code(plain, tuple(imports), tuple(own))


@cache
def _linked(path: Path) -> str:
    """Return the digest of a file's code, with what its imports lead to in their places."""
    return _hashed("\n".join([_code(path).plain, *sorted(_links(path))]))


@cache
def _plain_digest(path: Path) -> str:
    return _hashed(_code(path).plain)


def _is_shown(node: ast.stmt) -> bool:
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return isinstance(target, ast.Name) and target.id in SHOWN


def _links(path: Path) -> Iterator[str]:
    for module, name, known_as in _code(path).own:
        inner = _file(f"{module}.{name}")
        source = inner or _file(module)
        named = "*module*" if inner else name
        yield f"{known_as} {named} {_plain_digest(source) if source else module}"


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_own(node: ast.ImportFrom) -> bool:
    return node.level == 0 and (node.module or "").split(".")[0] == PACKAGE.name


class _Plain(ast.NodeTransformer):
    """Takes out texts that stand as statements and imports of this package."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if _is_own(node) else node


def relative(path: Path) -> str:
    """Return a path as seen from the working folder, where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
