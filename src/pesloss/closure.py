"""Which files of the package a module depends on, read from its import statements."""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def code_of(*modules: str) -> list[str]:
    """Return the files that ``modules`` import inside this package, themselves included.

    Statically, by following import statements, so that a rule of the workflow can watch
    exactly the code its result depends on. What is imported by name at run time (losses,
    statistics of claims, figures, kinds of datasets) has to be named beside.

    Parameters
    ----------
    modules
        Dotted names such as ``pesloss.training.job``.

    Returns
    -------
    list of str
        Sorted paths, relative to the working folder where that is possible.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += [*_imports(path), name.rpartition(".")[0]]
    return sorted(relative(path) for path in found.values())


@cache
def code_digest(*modules: str) -> str:
    """Return the SHA-256 of the files of `code_of`, with their names.

    A rule has it as a parameter, and is planned again when it changes. As input files the same
    code would be asked for its age again and again while jobs wait: two seconds a job.
    """
    sha = hashlib.sha256()
    for path in code_of(*modules):
        content = Path(path).read_bytes()
        sha.update(f"{Path(path).name} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def _file(name: str) -> Path | None:
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return None
    base = PACKAGE.joinpath(*parts[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file() and (len(parts) > 1 or path.name == "__init__.py"):
            return path
    return None


@cache
def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def relative(path: Path) -> str:
    """Return a path as seen from the working folder, where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
