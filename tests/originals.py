"""The public data sets, where a copy lies beside the repository: tests of them skip elsewhere."""

from functools import cache
from pathlib import Path

import pytest
from ase import Atoms

from pesloss.data.readers import Labels, LeftOut, read

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "originals"
needs_originals = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the public data sets are not in {FOLDER}"
)
DFT = Labels(energy="energy", forces="forces", energy_unit="eV", length_unit="Angstrom")
VASP = DFT.model_copy(
    update={
        "stress": "stress",
        "stress_unit": "kbar",
        "stress_order": "vasp",
        "stress_is_pressure": True,
    }
)
MLEARN = VASP.model_copy(update={"stress": "virial_stress"})
GRADIENTS = Labels(
    energy="energies",
    forces="forces",
    energy_unit="Hartree",
    length_unit="Angstrom",
    forces_are_gradients=True,
)
Source = tuple[str, str, Labels]
SETS: dict[str, list[Source]] = {
    "mattersim_bench": [
        ("microsoft/**/*.xyz", "extxyz", DFT.model_copy(update={"stress": "stress"}))
    ],
    "si_small_large": [
        ("MaterSim/**/*.json", "pyxtal_json", DFT.model_copy(update={"forces": "force"})),
        ("materialsvirtuallab/mlearn/*/data/Si/*.json", "pymatgen_json", MLEARN),
    ],
    "tio2_aenet": [
        ("atomisticnet/**/*.gz", "xsf_tar", DFT.model_copy(update={"energy": "total energy"}))
    ],
    "s66x8_comp6": [("isayev/**/*.h5", "comp6_h5", GRADIENTS)],
    "nbmotaw_mvl": [("materialsvirtuallab/snap/**/*.json", "pymatgen_json", VASP)],
    "mlearn6": [("materialsvirtuallab/mlearn/**/*.json", "pymatgen_json", MLEARN)],
}


@cache
def original(name: str) -> tuple[list[Atoms], list[LeftOut]]:
    """A whole public set, read once for all tests."""
    frames: list[Atoms] = []
    left_out: list[LeftOut] = []
    for pattern, format, labels in SETS[name]:
        for path in sorted(FOLDER.glob(pattern)):
            good, bad = read(path, format, labels, name="/".join(path.parts[-2:]))
            frames += good
            left_out += bad
    return frames, left_out
