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
        waiting += [*_imports(path), name.rpartition(".")[0]]
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
class _Read:
    """What a digest needs of a file: parsed once, as that is what a plan's digests cost."""

    imports: tuple[ast.Import | ast.ImportFrom, ...]
    plain: str
    """Digest of the code without comments, docstrings and imports of this package, and of C."""


@cache
def _read(path: Path) -> _Read:
    tree = _tree(path)
    imports = tuple(n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom))
    tree.body = [node for node in tree.body if not _is_shown(node)]
    return _Read(imports, _hashed(" ".join([ast.dump(_Plain().visit(tree)), *_compiled(path)])))


@cache
def _imports(path: Path) -> list[str]:
    names = []
    for node in _read(path).imports:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif node.module and node.level == 0:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


@cache
def _linked(path: Path) -> str:
    """Return the digest of a file's code, with what its imports lead to in their places."""
    return _hashed("\n".join([_read(path).plain, *sorted(_links(path))]))


def _compiled(path: Path) -> list[str]:
    """Return the words of the file of C with the name of a module, which the module compiles."""
    beside = path.with_suffix(".c")
    text = beside.read_text(encoding="utf-8") if beside.is_file() else ""
    return [*filter(None, re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).split(" "))]


def _is_shown(node: ast.stmt) -> bool:
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return isinstance(target, ast.Name) and target.id in SHOWN


def _links(path: Path) -> Iterator[str]:
    for node in _read(path).imports:
        if isinstance(node, ast.ImportFrom) and _is_own(node):
            for alias in node.names:
                inner = _file(f"{node.module}.{alias.name}")
                source = inner or _file(node.module or "")
                name = "*module*" if inner else alias.name
                known_as = alias.asname or alias.name
                yield f"{known_as} {name} {_read(source).plain if source else node.module}"


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
