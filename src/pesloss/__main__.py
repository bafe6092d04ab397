"""`pesloss`: scales of a data file, weights of its structures, presets, and further seeds."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.io import read, write

from pesloss.adapters.weights import CODES, weighted
from pesloss.controls import is_control
from pesloss.errors import PeslossError
from pesloss.files import write_text, written_whole
from pesloss.losses import names
from pesloss.losses.presets import table
from pesloss.more_seeds import add_seeds
from pesloss.scales import Scales
from pesloss.statistics.scales import fit_structures
from pesloss.surroundings import ending, pass_on, terminable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; where it cannot, return 1 (130 after Ctrl-C) with one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        with terminable():
            options.run(options)
            sys.stdout.flush()
    except BaseException as error:
        end = ending(error)
        if end is None:
            raise
        sys.stderr.write(f"pesloss: {end.line}\n" if end.line else "")
        return end.status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pesloss", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    scales = commands.add_parser("scales", help="fit μ, σ, τ, κ and η to a training set")
    _data(scales)
    scales.add_argument("output", type=Path, help="scales as JSON")
    scales.set_defaults(run=_scales)
    weights = commands.add_parser("weights", help="write a data file with weights of structures")
    weights.add_argument("code", choices=sorted(CODES))
    _data(weights)
    weights.add_argument("output", type=Path, help="extended XYZ")
    losses = [name for name in names("energy") if not is_control(name)]
    weights.add_argument("--loss", default="standardized", choices=losses)
    weights.add_argument("--scales", type=Path, help="scales of the training set; else of DATA")
    weights.set_defaults(run=_weights)
    presets = commands.add_parser("presets", help="write the table of presets as Markdown")
    presets.add_argument("output", type=Path)
    presets.set_defaults(run=lambda options: write_text(options.output, table()))
    seeds = commands.add_parser("more-seeds", help="let an ablation have more seeds from now on")
    seeds.add_argument("ablation", help="name in config/ablations")
    seeds.add_argument("--to", type=int, help="number of seeds; else one more")
    seeds.add_argument("--preset", help="name in config/presets; else that of config.yaml")
    seeds.set_defaults(run=_more_seeds)
    return parser


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="structures in a format of ASE")
    parser.add_argument("--energy-key", help="name in info; else the calculator's")
    parser.add_argument("--forces-key", help="name in arrays; else the calculator's")


def _scales(options: argparse.Namespace) -> None:
    structures = structures_in(options.data)
    fit_structures(structures, options.energy_key, options.forces_key).write(options.output)


def _weights(options: argparse.Namespace) -> None:
    structures = structures_in(options.data)
    if options.scales:
        scales = Scales.read(options.scales)
    else:
        scales = fit_structures(structures, options.energy_key, options.forces_key)
    with written_whole(options.output) as scratch:
        chosen = weighted(structures, scales, options.code, options.loss)
        write(scratch, chosen, format="extxyz")


def _more_seeds(options: argparse.Namespace) -> None:
    added = add_seeds(options.ablation, options.to, options.preset)
    lines = [f"{added.ablation}, preset {added.preset}: {added.before} seeds, now {added.after}"]
    if added.outlook:
        lines += ["undecided; with the estimates as they are, they would take:", *added.outlook]
    elif added.after == added.before:
        lines += ["no claim is undecided; --to adds seeds all the same"]
    sys.stdout.write("\n".join(lines) + "\n")


def structures_in(path: Path) -> list[Atoms]:
    """Read all structures of a file.

    Raises
    ------
    PeslossError
        When the file is missing or is in no format that ASE knows.
    """
    try:
        return list(read(path, ":"))
    except Exception as error:
        # ASE's readers raise whatever they stumble upon.
        pass_on(error, path)
        message = " ".join(str(error).split()) or type(error).__name__
        raise PeslossError(f"{path}: cannot be read ({message})") from None


if __name__ == "__main__":
    sys.exit(main())
