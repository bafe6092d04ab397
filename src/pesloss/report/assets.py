"""Pack tables, figures, verdicts and the report of a full run into one archive for a release."""

import sys
from pathlib import Path

from pesloss.job.errors import PeslossError
from pesloss.job.files import is_scratch, write_zip
from pesloss.job.surroundings import run

FOLDERS = ("claims", "figures", "report", "tables")


def pack(results: Path, archive: Path, folders: tuple[str, ...] = FOLDERS) -> None:
    """Write a ZIP of folders of the results, byte for byte repeatable.

    Raises
    ------
    PeslossError
        When a folder is missing.
    """
    for name in folders:
        if not (results / name).is_dir():
            raise PeslossError(f"{results / name}: no such folder; run make reproduce first")
    paths = [path for name in folders for path in (results / name).rglob("*")]
    files = [path for path in paths if path.is_file() and not is_scratch(path)]
    write_zip(archive, files, results.parent)


def main() -> int:
    """Pack ``results`` of the working folder into ``results/release.zip``."""
    return run("release-assets", lambda: pack(Path("results"), Path("results/release.zip")))


if __name__ == "__main__":
    sys.exit(main())
