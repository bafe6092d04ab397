"""What the commands do with a user's files; each returns what the user should know."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype

from pesloss.adapters.weights import CODES, notes, weighted
from pesloss.data.checks import Checked, check_units, checked
from pesloss.data.isolated import compared_with_means, reference_energies
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.job.files import written_whole
from pesloss.job.surroundings import pass_on
from pesloss.losses import names
from pesloss.scales.keys import flattened, labelled, once
from pesloss.scales.review import warnings
from pesloss.scales.scales import Scales
from pesloss.scales.training_set import Fitted, fit_all

DATABASES = ("db", "json")
COMPRESSED: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": lambda content: gzip.compress(content, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@dataclass(frozen=True)
class Data:
    """A file of structures and the keys of its labels; without keys the calculator's are used."""

    path: Path
    energy_key: str | None = None
    forces_key: str | None = None


def write_scales(data: Data, output: Path) -> list[str]:
    """Fit scales to a training set and write them.

    Parameters
    ----------
    data
        Labelled structures; isolated atoms and what the workflow would leave out
        (`pesloss.data.checks.checked`) are no part of the fit.
    output
        JSON, written whole or not at all.

    Returns
    -------
    What the user should know, a sentence each.

    Raises
    ------
    PeslossError
        One line: ``output`` is the data or a folder, the data cannot be read, have no such labels
        or cannot be fitted.
    """
    refuse_to_overwrite(output, data.path)
    scales, said, _ = _fitted(data, structures_in(data.path))
    scales.write(output)
    return said


def write_weights(
    data: Data, output: Path, code: str, loss: str = "standardized", scales: Path | None = None
) -> list[str]:
    """Write a data file with the weights that make a code minimise a loss.

    Parameters
    ----------
    data
        Labelled structures.
    output
        Extended XYZ, compressed where it ends in .gz, .bz2 or .xz.
    code, loss
        As in `pesloss.adapters.weights.weighted`.
    scales
        Scales of the training set; without, they are fitted to ``data`` as by `write_scales`.

    Returns
    -------
    What the user should know, a sentence each.

    Raises
    ------
    PeslossError
        As by `write_scales`, and where ``output`` is the file of scales.
    """
    refuse_to_overwrite(output, data.path, *([scales] if scales else []))
    if loss not in names("energy"):
        raise wrong_value("weights", "--loss", loss, names("energy"))
    given = Scales.read(scales) if scales else None
    structures = structures_in(data.path)
    if given:
        fitted, said = given, _about_labels(data, structures)
    else:
        fitted, said, result = _fitted(data, structures)
        if len(result.left_out):
            said.append(
                "what was left out is no part of the scales; the file keeps it with weights"
            )
    with _named(data.path):
        chosen = weighted(structures, fitted, code, loss)
        said += notes(structures, fitted, code, loss) + _about_keys(data, code)
    if not chosen:
        raise PeslossError(f"{data.path}: no structure is left: all are isolated atoms")
    _write_extxyz(output, chosen)
    return said


def _about_keys(data: Data, code: str) -> list[str]:
    """Say where NEP looks for labels that are elsewhere; other codes are told of the keys."""
    names = (("energies", data.energy_key, "energy"), ("forces", data.forces_key, "forces"))
    return [
        f"NEP reads {label} as {its}; here they are {key}"
        for label, key, its in names
        if CODES[code].label_keys and key and key.lower() not in CODES[code].label_keys
    ]


def refuse_to_overwrite(output: Path, *inputs: Path) -> None:
    """Refuse an output that is a folder or, by whatever path or link, one of the inputs.

    Raises
    ------
    PeslossError
        Naming both paths.
    """
    if output.is_dir():
        raise wrong_value("output", "path", str(output), "a file, no folder")
    for path in inputs:
        for candidate in _meant_by(path):
            if _same_file(output, candidate):
                raise PeslossError(
                    f"output {output} is the input {candidate}; "
                    "allowed: another file, the input is never replaced"
                )


def _meant_by(path: Path) -> list[Path]:
    """Return the files that ASE may read: ``a.xyz@:5`` is the first five frames of ``a.xyz``."""
    before, _, _ = path.name.rpartition("@")
    return [path, path.with_name(before)] if before else [path]


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def structures_in(path: Path) -> list[Atoms]:
    """Read all structures of a file.

    As ASE has it, ``a.xyz@:5`` are the first five frames of ``a.xyz``. Of ASE's databases the
    ``data`` and ``key_value_pairs`` of a row are kept, see `pesloss.scales.keys.flattened`.

    Raises
    ------
    PeslossError
        When the file is missing, is in no format that ASE knows or holds no structure.
    """
    try:
        structures = _rows(path) if _is_database(path) else _frames(path)
    except Exception as error:
        # ASE's readers raise whatever they stumble upon.
        pass_on(error, path)
        message = " ".join(str(error).split()) or type(error).__name__
        raise PeslossError(f"{path}: cannot be read ({message})") from None
    if not structures:
        raise PeslossError(f"{path}: no structure in it; at least one is needed")
    empty = [k for k, atoms in enumerate(structures) if not len(atoms)]
    if empty:
        raise PeslossError(f"{path}: frame {empty[0]} has no atom; allowed: at least one")
    return [_once(atoms, f"{path}: frame {k}") for k, atoms in enumerate(structures)]


def _once(atoms: Atoms, where: str) -> Atoms:
    with _named(where):
        return once(atoms)


def _frames(path: Path) -> list[Atoms]:
    """Read all frames, or those after an @ in the name, which ASE forgets when told of all."""
    chosen = "@" in path.name and not path.exists()
    found = ase.io.read(path) if chosen else ase.io.read(path, ":")
    return [found] if isinstance(found, Atoms) else list(found)


def _is_database(path: Path) -> bool:
    try:
        return path.is_file() and filetype(str(path)) in DATABASES
    except UnknownFileTypeError:
        return False


def _rows(path: Path) -> list[Atoms]:
    import ase.db

    with ase.db.connect(path, use_lock_file=False) as database:
        rows = [row.toatoms(add_additional_information=True) for row in database.select()]
    return [flattened(atoms) for atoms in rows]


def _fitted(data: Data, structures: Sequence[Atoms]) -> tuple[Scales, list[str], Checked]:
    result, said = _checked(data, structures)
    with _named(data.path):
        fit = fit_all(result.kept)
    return fit.scales, said + _about_fit(result, fit), result


def _checked(data: Data, structures: Sequence[Atoms]) -> tuple[Checked, list[str]]:
    with _named(data.path):
        found = labelled(structures, data.energy_key, data.forces_key)
    forces = any("forces" in atoms.calc.results for atoms in found.structures)
    result = checked(found.structures, forces=None if forces else False, where=str(data.path))
    return result, found.notes + _about_checked(result)


def _about_labels(data: Data, structures: Sequence[Atoms]) -> list[str]:
    """Check structures whose labels are not needed, where they have some."""
    try:
        return _checked(data, structures)[1]
    except PeslossError as error:
        if data.energy_key or data.forces_key:
            raise
        return [f"labels are not checked: {error}"]


@contextmanager
def _named(where: Path | str) -> Iterator[None]:
    """Put the name of a file or frame before an error."""
    try:
        yield
    except PeslossError as error:
        raise PeslossError(f"{where}: {error}") from None


def _about_checked(result: Checked) -> list[str]:
    said = list(result.notes)
    try:
        check_units(result.kept, "units")
    except PeslossError as error:
        said.append(str(error))
    return said


def _about_fit(result: Checked, fit: Fitted) -> list[str]:
    plain = fit.plain
    e0 = reference_energies(result.isolated)
    said = compared_with_means(e0, plain.species_, plain.mean_.tolist(), plain.mean_se_.tolist())
    return said + warnings(plain.at_boundary_, np.zeros(0, dtype=np.intp), plain.converged_)


def _write_extxyz(output: Path, structures: Sequence[Atoms]) -> None:
    """Write text first: ASE's own compression puts a time and the name of the scratch file in."""
    text = StringIO()
    ase.io.write(text, list(structures), format="extxyz")
    content = text.getvalue().encode("utf-8")
    compress = COMPRESSED.get(output.suffix.lower(), bytes)
    with written_whole(output) as scratch:
        scratch.write_bytes(compress(content))
