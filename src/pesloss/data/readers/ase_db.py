"""SQLite database of ASE, plain or packed.

Keys: energy, forces, stress, key-value pairs and data of a row; within mappings of its data, those
of the mappings joined by dots. Units in the database's metadata have to be the card's.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import ase.db

from pesloss.data.label_units import Labels
from pesloss.data.labels import Frame, Note, Raw, frame_of
from pesloss.data.readers._content import Content, path_of, unpacked
from pesloss.data.stated_units import units_conflict, units_mentioned
from pesloss.job.errors import PeslossError


def read(name: str, content: Content, labels: Labels) -> Iterator[Frame]:
    """Yield the rows; see ``pesloss.data.readers``."""
    with path_of(unpacked(name, content)) as path:
        _check(name, path)
        with ase.db.connect(path, type="db", use_lock_file=False) as database:
            yield from _of_metadata(name, database.metadata, labels)
            for row in database.select():
                yield frame_of(name, f"@{row.id}", partial(_parsed, row), labels)


def _check(name: str, path: Path) -> None:
    """Refuse a file that is cut off, or without ASE's tables: ASE would write them into it."""
    with path.open("rb") as file:
        header = file.read(32)
    # of SQLite's header: page size (1 stands for 65536) and number of pages
    page_size, n_pages = int.from_bytes(header[16:18]), int.from_bytes(header[28:32])
    if path.stat().st_size < n_pages * (65536 if page_size == 1 else page_size):
        raise PeslossError(f"{name}: truncated or not an ASE database ({n_pages} pages announced)")
    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.DatabaseError as error:
        raise PeslossError(f"{name}: truncated or not an ASE database ({error})") from None
    if ("systems",) not in tables:
        raise PeslossError(f"{name}: not an ASE database (no table 'systems')")


def _of_metadata(name: str, metadata: Mapping[str, Any], labels: Labels) -> Iterator[Frame]:
    conflict = units_conflict(metadata, labels)
    if conflict:
        raise PeslossError(f"{name}: metadata: {conflict}")
    for remark in units_mentioned(metadata, labels):
        yield Note(f"metadata: {remark}")


def _parsed(row: Any) -> Raw:
    atoms = row.toatoms()
    results = atoms.calc.results if atoms.calc is not None else {}
    values = {**dict(_flat(row.data)), **row.key_value_pairs, **results}
    return Raw(atoms, values, row.key_value_pairs)


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
