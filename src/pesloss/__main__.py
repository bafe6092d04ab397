"""`pesloss`: scales of a data file, weights of its structures, presets, and further seeds."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pesloss.job.errors import PeslossError
from pesloss.job.surroundings import run
from pesloss.losses import names
from pesloss.losses.controls import is_control

CODES = ("gap", "mace", "nep")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; where it cannot, return 1 (130 after Ctrl-C) with one line on stderr."""
    options = _parser().parse_args(arguments)
    return run("pesloss", lambda: options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pesloss", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    scales = commands.add_parser("scales", help="fit μ, σ, τ, κ and η to a training set")
    _data(scales)
    scales.add_argument("output", type=Path, help="scales as JSON")
    scales.set_defaults(run=_scales)
    weights = commands.add_parser("weights", help="write a data file with weights of structures")
    weights.add_argument("code", choices=CODES)
    _data(weights)
    weights.add_argument("output", type=Path, help="extended XYZ; .gz, .bz2 or .xz: compressed")
    losses = [name for name in names("energy") if not is_control(name)]
    weights.add_argument("--loss", default="standardized", choices=losses)
    weights.add_argument("--scales", type=Path, help="scales of the training set; else of DATA")
    weights.add_argument(
        "--older-nep",
        action="store_true",
        help="for NEP of GPUMD before 4.0: one weight for energies, forces and virials",
    )
    weights.set_defaults(run=_weights)
    presets = commands.add_parser("presets", help="write the table of presets as Markdown")
    presets.add_argument("output", type=Path)
    presets.set_defaults(run=_presets)
    seeds = commands.add_parser("more-seeds", help="let an ablation have more seeds from now on")
    seeds.add_argument("ablation", help="name in config/ablations")
    seeds.add_argument("--to", type=int, help="number of seeds; else one more")
    seeds.add_argument("--preset", help="name in config/presets; else that of config.yaml")
    seeds.set_defaults(run=_more_seeds)
    return parser


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="structures in a format of ASE")
    parser.add_argument("--energy-key", help="name of the energies; else the calculator's")
    parser.add_argument("--forces-key", help="name of the forces; else the calculator's")


def _scales(options: argparse.Namespace) -> None:
    from pesloss.commands import Data, write_scales

    data = Data(options.data, options.energy_key, options.forces_key)
    _say(write_scales(data, options.output))


def _weights(options: argparse.Namespace) -> None:
    from pesloss.commands import Data, write_weights

    code = options.code
    if options.older_nep:
        if code != "nep":
            raise PeslossError(f"--older-nep: the code is {code}; allowed: nep")
        code = "nep_older"
    data = Data(options.data, options.energy_key, options.forces_key)
    _say(write_weights(data, options.output, code, options.loss, options.scales))


def _presets(options: argparse.Namespace) -> None:
    from pesloss.job.files import write_text
    from pesloss.losses.presets import table

    write_text(options.output, table())


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stderr.write(f"pesloss: note: {' '.join(line.split())}\n")


def _more_seeds(options: argparse.Namespace) -> None:
    try:
        from pesloss.plan.seeds import add_seeds
    except ModuleNotFoundError as error:
        raise PeslossError(
            f"more-seeds belongs to the suite and needs {error.name}: pip install 'pesloss[suite]'"
        ) from None
    added = add_seeds(options.ablation, options.to, options.preset)
    lines = [f"{added.ablation}, preset {added.preset}: {added.before} seeds, now {added.after}"]
    if added.outlook:
        lines += ["undecided; with the estimates as they are, they would take:", *added.outlook]
    elif added.after == added.before:
        lines += ["no claim is undecided; --to adds seeds all the same"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
