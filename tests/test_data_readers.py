"""Every format gives eV and Å; what cannot be read is counted or refused in one line."""

import gzip
import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.stress import voigt_6_to_full_3x3_stress
from originals import FOLDER, SETS, VASP, needs_originals, original

from pesloss.data.label_units import EV
from pesloss.data.readers import Labels, _content, read, reader_names
from pesloss.job.errors import PeslossError
from pesloss.spec.yaml_models import parse

CELL = np.array([[4.0, 0.0, 0.0], [0.5, 4.5, 0.0], [0.0, 0.3, 5.0]])
PLAIN = Labels(energy="E", forces="F", energy_unit="eV", length_unit="Angstrom")
N_FRAMES = 3


def frames() -> list[Atoms]:
    """Three frames of three atoms, whose labels are in no unit yet."""
    rng = np.random.default_rng(3)
    made = []
    for index in range(N_FRAMES):
        atoms = Atoms("OTiO", rng.random((3, 3)) @ CELL, cell=CELL, pbc=True)
        atoms.calc = SinglePointCalculator(
            atoms, energy=-7.25 - index, forces=rng.normal(size=(3, 3)).round(6)
        )
        made.append(atoms)
    return made


def energy_of(atoms: Atoms) -> float:
    return float(atoms.calc.results["energy"])


def forces_of(atoms: Atoms) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(atoms.calc.results["forces"])


def as_extxyz(path: Path) -> None:
    copies = []
    for index, atoms in enumerate(frames()):
        copy = atoms.copy()
        copy.info.update(E=energy_of(atoms), config_type=f"kind{index}", source="elsewhere")
        copy.arrays["F"] = forces_of(atoms)
        copies.append(copy)
    text = io.StringIO()
    ase.io.write(text, copies, format="extxyz")
    path.write_text(text.getvalue())


def as_extxyz_gz(path: Path) -> None:
    as_extxyz(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def as_ase_db(path: Path) -> None:
    with connect(path, type="db") as database:
        for index, atoms in enumerate(frames()):
            pairs = {"E": energy_of(atoms), "config_type": f"kind{index}"}
            database.write(atoms.copy(), key_value_pairs=pairs, data={"F": forces_of(atoms)})


def as_pymatgen_json(path: Path) -> None:
    entries = [
        {
            "structure": {
                "lattice": {"matrix": atoms.cell.array.tolist()},
                "sites": [
                    {"species": [{"element": symbol, "occu": 1}], "abc": place.tolist()}
                    for symbol, place in zip(
                        atoms.symbols, atoms.get_scaled_positions(wrap=False), strict=True
                    )
                ],
            },
            "outputs": {"E": energy_of(atoms), "F": forces_of(atoms).tolist()},
            "num_atoms": 3,
            "config_type": f"kind{index}",
        }
        for index, atoms in enumerate(frames())
    ]
    path.write_text(json.dumps(entries))


def as_pyxtal_json(path: Path) -> None:
    entries = [
        {
            "formula": "Ti1O2",
            "coords": {"data": atoms.get_scaled_positions(wrap=False).tolist()},
            "lattice": {"data": atoms.cell.array.tolist()},
            "elements": list(atoms.symbols),
            "E": energy_of(atoms),
            "F": forces_of(atoms).tolist(),
            "config_type": f"kind{index}",
        }
        for index, atoms in enumerate(frames())
    ]
    path.write_text(json.dumps(entries))


def xsf(atoms: Atoms) -> str:
    lines = [f"# E = {energy_of(atoms)!r} eV", "", "CRYSTAL", "PRIMVEC"]
    lines += [" ".join(map(repr, map(float, row))) for row in atoms.cell.array]
    lines += ["PRIMCOORD", f"{len(atoms)} 1"]
    for symbol, place, force in zip(atoms.symbols, atoms.positions, forces_of(atoms), strict=True):
        lines.append(" ".join([symbol, *(repr(float(x)) for x in (*place, *force))]))
    return "\n".join(lines) + "\n"


Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", **attributes: Any) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def write_tar(path: Path, members: list[Member], packed: bool = True) -> None:
    with tarfile.open(path, "w:gz") if packed else tarfile.open(path, "w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))


def xsf_members() -> list[Member]:
    return [
        member(f"dir/kind{index}.xsf", xsf(atoms).encode())
        for index, atoms in reversed(list(enumerate(frames())))
    ]


def as_xsf_tar(path: Path) -> None:
    write_tar(path, [*xsf_members(), member("dir/README", b"nothing")])


def as_comp6_h5(path: Path) -> None:
    made = frames()
    with h5py.File(path, "w") as file:
        group = file.create_group("set/kind0")
        group["coordinates"] = [atoms.positions for atoms in made]
        group["species"] = np.array(list(made[0].symbols), dtype="S2")
        group["E"] = [energy_of(atoms) for atoms in made]
        group["F"] = [forces_of(atoms) for atoms in made]
        group["lot"] = np.array(["method"], dtype="S8")


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "mine.xyz": ("extxyz", as_extxyz),
    "mine.xyz.gz": ("extxyz", as_extxyz_gz),
    "mine.db": ("ase_db", as_ase_db),
    "mvl.json": ("pymatgen_json", as_pymatgen_json),
    "pyxtal.json": ("pyxtal_json", as_pyxtal_json),
    "mine.tar.gz": ("xsf_tar", as_xsf_tar),
    "mine.h5": ("comp6_h5", as_comp6_h5),
}
FORCES_KEY = {"xsf_tar": "forces"}


def labels_of(format: str, **changes: Any) -> Labels:
    defaults = {**PLAIN.model_dump(), "forces": FORCES_KEY.get(format, "F")}
    return parse(Labels, defaults | changes, "card")


@pytest.fixture(params=list(WRITERS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    format, write = WRITERS[request.param]
    path = tmp_path / request.param
    write(path)
    return path, format


def test_formats_are_the_files() -> None:
    assert reader_names() == sorted({format for format, _ in WRITERS.values()})


def test_frames_come_back(written: tuple[Path, str]) -> None:
    path, format = written
    for content in (path, str(path), path.read_bytes()):
        read_back, left_out = read(content, format, labels_of(format), name="mine")
        assert left_out == []
        assert len(read_back) == N_FRAMES
        for atoms, made in zip(read_back, frames(), strict=True):
            assert list(atoms.symbols) == list(made.symbols)
            assert atoms.positions == pytest.approx(made.positions, abs=1e-7)
            assert energy_of(atoms) == energy_of(made)
            assert forces_of(atoms) == pytest.approx(forces_of(made), rel=1e-14)
            assert "stress" not in atoms.calc.results
            assert atoms.info["file"] == "mine"
            if format != "comp6_h5":
                assert atoms.cell.array == pytest.approx(made.cell.array, abs=1e-7)
                assert atoms.pbc.all()
        assert len({atoms.info["source"] for atoms in read_back}) == N_FRAMES
    assert read(path, format, labels_of(format))[0][0].info["file"] == path.name


def test_values_for_grouping_are_kept(written: tuple[Path, str]) -> None:
    path, format = written
    info = read(path, format, labels_of(format))[0][0].info
    key = "group" if format in ("xsf_tar", "comp6_h5") else "config_type"
    assert info[key] == {"comp6_h5": "/set/kind0"}.get(format, "kind0")
    assert "E" not in info
    assert info["source"].startswith(path.name)
    if format == "extxyz":
        assert info["file_source"] == "elsewhere"


def test_every_unit_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "mine.xyz"
    as_extxyz(path)
    factors = {
        "Hartree": 27.211386,
        "Ry": 13.605693,
        "kcal/mol": 0.0433641,
        "kJ/mol": 0.01036427,
        "meV": 0.001,
        "eV": 1.0,
    }
    assert set(factors) == set(EV)
    for unit, factor in factors.items():
        assert EV[unit] == pytest.approx(factor, rel=1e-6)
        for length, angstrom in {"Angstrom": 1.0, "Bohr": units.Bohr}.items():
            labels = labels_of("extxyz", energy_unit=unit, length_unit=length)
            for atoms, made in zip(read(path, "extxyz", labels)[0], frames(), strict=True):
                assert energy_of(atoms) == energy_of(made) * EV[unit]
                assert forces_of(atoms) == pytest.approx(
                    forces_of(made) * EV[unit] / angstrom, rel=1e-15
                )
                assert atoms.positions == pytest.approx(made.positions * angstrom, abs=1e-8)
                assert atoms.cell.array == pytest.approx(CELL * angstrom, rel=1e-8)


def test_forces_may_have_a_unit_and_a_sign_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.xyz"
    as_extxyz(path)
    labels = labels_of(
        "extxyz", forces_unit="kcal/mol/Bohr", forces_are_gradients=True, energy_per_atom=True
    )
    for atoms, made in zip(read(path, "extxyz", labels)[0], frames(), strict=True):
        expected = -forces_of(made) * (units.kcal / units.mol) / units.Bohr
        assert forces_of(atoms) == pytest.approx(expected, rel=1e-15)
        assert energy_of(atoms) == 3 * energy_of(made)


def test_stress_is_put_into_order(tmp_path: Path) -> None:
    path = tmp_path / "mine.xyz"
    lattice = "Lattice='4 0 0 0 4 0 0 0 4' Properties=species:S:1:pos:R:3 E=1"
    path.write_text(f'1\n{lattice} S="1 2 3 4 5 6" T="1 6 5 6 2 4 5 4 3"\nAl 0 0 0\n')
    vasp: dict[str, Any] = {
        "stress_order": "vasp",
        "stress_unit": "kbar",
        "stress_is_pressure": True,
    }
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"stress": "S"}, np.array([1, 2, 3, 4, 5, 6])),
        ({"stress": "T", "stress_unit": "GPa"}, np.array([1, 2, 3, 4, 5, 6]) * units.GPa),
        ({"stress": "S", **vasp}, -np.array([1, 2, 3, 5, 6, 4]) * 0.1 * units.GPa),
    ]
    for changes, expected in cases:
        atoms = read(path, "extxyz", labels_of("extxyz", forces=None, **changes))[0][0]
        assert atoms.calc.results["stress"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forces_unit": "Hartree"}, "forces_unit is 'Hartree'; allowed: one of eV, meV, Hartree"),
        ({"forces_unit": "eV/nm"}, "forces_unit is 'eV/nm'; allowed"),
        ({"energy_unit": "Ha"}, "energy_unit is 'Ha'"),
        ({"force": "F"}, "unknown key 'force'; allowed"),
    ],
)
def test_wrong_labels_are_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(PeslossError, match=r"^card: ") as caught:
        labels_of("extxyz", **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_is_named_with_those_there_are(written: tuple[Path, str]) -> None:
    path, format = written
    for key, there in (("energy", "E"), ("forces", "F"), ("stress", "E")):
        with pytest.raises(PeslossError, match=path.name) as caught:
            read(path, format, labels_of(format, **{key: "nowhere"}))
        message = str(caught.value)
        assert "key 'nowhere' is missing; there are: " in message
        assert FORCES_KEY.get(format, there) in message or there in message
        assert "\n" not in message


def test_truncated_files_are_noticed(written: tuple[Path, str]) -> None:
    path, format = written
    whole = path.read_bytes()
    for share in (0.02, 0.3, 0.5, 0.7, 0.97):
        content = whole[: int(share * len(whole))]
        assert re.search(CUT, what_is_said(content, format))


CUT = r"^cut: [^\n]*$|the last line has no end"


def what_is_said(content: bytes, format: str) -> str:
    """The error, or the reason of the last frame."""
    try:
        _, left_out = read(content, format, labels_of(format), name="cut")
    except PeslossError as error:
        return str(error)
    return left_out[-1].reason if left_out else "nothing"


@pytest.mark.parametrize("content", [b"", b"structure,energy\n1,2\n", b"\x89PNG\xff", b"{}", b"[]"])
@pytest.mark.parametrize("format", reader_names())
def test_foreign_files_are_refused(format: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(PeslossError, match=r"^foreign: ") as caught:
        read(path, format, PLAIN)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_missing_files_and_formats_are_named(tmp_path: Path) -> None:
    with pytest.raises(PeslossError, match="no such file"):
        read(tmp_path / "none.xyz", "extxyz", PLAIN)
    with pytest.raises(PeslossError, match="format is 'xyz'; allowed: ase_db, comp6_h5"):
        read(b"", "xyz", PLAIN)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("\nTi ", "\nXx ", "'Xx'"),
        (" E=-8.25", " E=much", "E is no array of numbers"),
        (" E=-8.25", ' E="1 2"', "E has 2 numbers instead of one"),
        (" E=-8.25", "", "key 'E' is missing; there are: F, "),
    ],
)
def test_a_bad_frame_is_counted(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "mine.xyz"
    as_extxyz(path)
    head, middle = path.read_text().split("\n3\n", 1)
    place = middle.index(old)
    path.write_text(f"{head}\n3\n{middle[:place]}{new}{middle[place + len(old) :]}")
    read_back, left_out = read(path, "extxyz", PLAIN)
    assert [atoms.info["source"] for atoms in read_back] == ["mine.xyz@0", "mine.xyz@2"]
    assert [frame.source for frame in left_out] == ["mine.xyz@1"]
    assert reason in left_out[0].reason


def test_shared_sites_and_wrong_numbers_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    as_pymatgen_json(path)
    entries = json.loads(path.read_text())
    entries[0]["num_atoms"] = 4
    entries[1]["structure"]["sites"][0]["species"][0]["occu"] = 0.5
    path.write_text(json.dumps(entries))
    reasons = [frame.reason for frame in read(path, "pymatgen_json", PLAIN)[1]]
    assert reasons == [
        "num_atoms is 4, there are 3 sites",
        "a site is shared by several elements or partly empty",
    ]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            member("../out.xsf", b"x"),
            "member '../out.xsf': the name leads out of the archive's folder",
        ),
        (member("/etc/out.xsf", b"x"), "leads out of the archive's folder"),
        (member("link.xsf", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (member("link.xsf", type=tarfile.LNKTYPE, linkname="dir/kind0.xsf"), "is a link"),
        (member("pipe.xsf", type=tarfile.FIFOTYPE), "is a device"),
    ],
)
def test_unsafe_archives_are_refused(tmp_path: Path, extra: Member, message: str) -> None:
    path = tmp_path / "mine.tar.gz"
    write_tar(path, [*xsf_members(), extra])
    with pytest.raises(PeslossError, match=r"^mine") as caught:
        read(path, "xsf_tar", labels_of("xsf_tar"))
    assert message in str(caught.value)


def test_a_plain_tar_is_read_and_its_end_missed(tmp_path: Path) -> None:
    path = tmp_path / "mine.tar"
    write_tar(path, xsf_members(), packed=False)
    whole = path.read_bytes()
    assert len(read(path, "xsf_tar", labels_of("xsf_tar"))[0]) == N_FRAMES
    for end in range(0, len(whole) - tarfile.RECORDSIZE, tarfile.BLOCKSIZE // 2):
        with pytest.raises(PeslossError, match=r"^cut: "):
            read(whole[:end], "xsf_tar", labels_of("xsf_tar"), name="cut")


def test_the_unit_in_an_xsf_comment_has_to_agree(tmp_path: Path) -> None:
    path = tmp_path / "mine.tar.gz"
    as_xsf_tar(path)
    with pytest.raises(PeslossError, match="E is in 'eV', energy_unit is 'Hartree'"):
        read(path, "xsf_tar", labels_of("xsf_tar", energy_unit="Hartree"))


@pytest.mark.parametrize("name", ["mine.xyz.gz", "mine.tar.gz", "mine.h5"])
def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    format, write = WRITERS[name]
    path = tmp_path / name
    write(path)
    monkeypatch.setattr(_content, "MAX_UNPACKED", 20)
    with pytest.raises(PeslossError, match=f"^{name}.*more than 20 bytes"):
        read(path, format, labels_of(format))


def test_links_of_hdf5_are_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "mine.h5", tmp_path / "other.h5"
    as_comp6_h5(path)
    as_comp6_h5(other)
    with h5py.File(path, "a") as file:
        del file["set/kind0/E"]
        file["set/kind0/E"] = h5py.ExternalLink(str(other), "/set/kind0/E")
    with pytest.raises(PeslossError, match="key 'E' is missing; there are: F"):
        read(path, "comp6_h5", PLAIN)


README = {  # n, smallest, median and largest number of atoms, elements, formulas, E/N in eV
    "mattersim_bench": (5222, 1, 12, 192, 89, 3286, (-12.895, -5.128, 11.547)),
    "si_small_large": (7126, 1, 6, 96, 1, 16, (-5.425, -4.683, 34.478)),
    "tio2_aenet": (1000, 6, 23, 95, 2, 8, (-867.171, -831.715, -830.205)),
    "s66x8_comp6": (528, 6, 19.5, 34, 4, 51, (-940.451, -555.14, -316.475)),
    "nbmotaw_mvl": (5658, 2, 16, 128, 4, 185, (-12.96, -11.414, -9.502)),
    "mlearn6": (1041, 2, 63, 108, 6, 53, (-10.85, -4.453, -1.706)),
}


@needs_originals
@pytest.mark.parametrize("name", list(SETS))
def test_public_sets_are_read_whole(name: str) -> None:
    read_back, left_out = original(name)
    n_atoms = [len(atoms) for atoms in read_back]
    per_atom = [energy_of(atoms) / len(atoms) for atoms in read_back]
    found: tuple[Any, ...] = (
        len(read_back),
        min(n_atoms),
        np.median(n_atoms),
        max(n_atoms),
        len({symbol for atoms in read_back for symbol in set(atoms.symbols)}),
        len({atoms.get_chemical_formula() for atoms in read_back}),
        tuple(np.percentile(per_atom, [0, 50, 100]).round(3)),
    )
    assert left_out == []
    assert found == README[name]
    assert len({atoms.info["source"] for atoms in read_back}) == len(read_back)


@needs_originals
def test_vasp_stress_is_the_slope_of_the_energy() -> None:
    """Sheared cells of Mo: energies and stresses have to agree in order, sign and unit."""
    path = next(FOLDER.glob("materialsvirtuallab/snap/**/Mo_Elastic.json"))
    prefix = "Strain_new=4--"
    sheared = [
        atoms
        for atoms in read(path, "pymatgen_json", VASP)[0]
        if atoms.info["notes"].startswith(prefix)
    ]
    sheared.sort(key=lambda atoms: float(atoms.info["notes"].removeprefix(prefix)))
    energy = np.array([energy_of(atoms) for atoms in sheared])
    cells = np.array([atoms.cell.array for atoms in sheared])
    stress = np.array([voigt_6_to_full_3x3_stress(a.calc.results["stress"]) for a in sheared])
    volume = np.linalg.det(cells)
    # dE = V tr(stress dstrain), with the strain that leads from each cell to the next
    middle = 0.5 * (cells[1:] + cells[:-1])
    strain = np.linalg.solve(middle, cells[1:] - cells[:-1])
    pull = volume[:, None, None] * stress
    work = np.einsum("kij,kji->k", 0.5 * (pull[1:] + pull[:-1]), strain)
    assert len(sheared) == 20
    assert np.abs(np.diff(energy)).max() > 0.015
    assert work == pytest.approx(np.diff(energy), abs=0.001)
