"""`python -m pesloss.adapters.spktrain`: SchNetPack's `spktrain` under the pinned torch.

SchNetPack 2.1.1 does not import with torch ≥ 2.5 (see `pesloss.model.schnetpack_import`), so its
own command fails before it reads a configuration. Arguments are those of `spktrain`.
"""

from importlib import import_module

from pesloss.model.schnetpack_import import import_schnetpack


def main() -> None:
    """Run `spktrain` with the arguments of the command line."""
    import_schnetpack()
    import_module("schnetpack.cli").train()


if __name__ == "__main__":
    main()
