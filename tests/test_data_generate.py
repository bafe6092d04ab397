"""Laws that every generated dataset obeys."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from hypothesis import given, settings
from hypothesis import strategies as st

from pesloss.data import families, generate, melts, molecules, store
from pesloss.data.crystals import strained
from pesloss.data.spec import DatasetSpec, kind_module, load_dataset_spec
from pesloss.job.errors import PeslossError

FOLDER = Path(__file__).parents[1] / "config" / "datasets"
GEOMETRIC = {
    "si_sw": {"melt_steps": 200, "quench_steps": 100, "steps_between": 20},
    "emt_alloys": {"max_atoms": 32, "melting_steps": 20, "steps_between": 5},
    "xtb_clusters": {"max_atoms": 20, "rattle": (0.02, 0.16)},
    "fragments": {"max_molecules": 6},
    "silicon_one_state": {"n_atoms": (8, 64), "equilibration_steps": 20, "steps_between": 20},
    "alloys_one_state": {"equilibration_steps": 5, "steps_between": 5},
}
WITHOUT_LOCAL_ENERGIES = ("fragments", "xtb_clusters")
N_SIZES = {"silicon_one_state": 2, "alloys_one_state": 1}  # all others: more than four


def small(kind: str, n: int = 24) -> DatasetSpec:
    number, recipe = {"smoke": n}, GEOMETRIC[kind]
    content = {"description": "small", "kind": kind, "n_structures": number, "recipe": recipe}
    return DatasetSpec.model_validate({**content, "seed": 7})


@pytest.fixture(scope="module", params=sorted(GEOMETRIC))
def spec(request: pytest.FixtureRequest) -> DatasetSpec:
    return small(request.param)


@pytest.fixture(scope="module")
def structures(spec: DatasetSpec) -> list[Atoms]:
    built, failures = generate.generate_part(spec, "smoke")
    assert not failures
    return generate.collect(spec, "smoke", [built])[0]


def written(spec: DatasetSpec, structures: list[Atoms], path: Path) -> bytes:
    store.write_structures(path, structures, spec.parsed_recipe().model_dump(mode="json"))
    return path.read_bytes()


def test_parts_join_to_the_same_bytes(
    spec: DatasetSpec, structures: list[Atoms], tmp_path: Path
) -> None:
    parts = [generate.generate_part(spec, "smoke", part, 3)[0] for part in (2, 0, 1)]
    joined, failures = generate.collect(spec, "smoke", parts)
    assert failures.empty
    whole = written(spec, structures, tmp_path / "one.xyz")
    assert written(spec, joined, tmp_path / "three.xyz") == whole


def test_parts_survive_the_disk(spec: DatasetSpec, structures: list[Atoms], tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    first = written(spec, structures, path)
    back = store.read_structures(path)
    assert written(spec, back, tmp_path / "b.xyz") == first
    for before, after in zip(structures, back, strict=True):
        assert after.get_potential_energy() == before.get_potential_energy()
        np.testing.assert_array_equal(after.positions, before.positions)
        np.testing.assert_array_equal(after.cell.array, before.cell.array)
        np.testing.assert_allclose(after.get_forces(), before.get_forces(), atol=1e-8)
    assert back[0].info["recipe"] == spec.parsed_recipe().model_dump(mode="json")


def test_local_energies_add_up(spec: DatasetSpec, structures: list[Atoms]) -> None:
    has_them = spec.kind not in WITHOUT_LOCAL_ENERGIES
    assert all(("local_energy" in a.arrays) == has_them for a in structures)
    for atoms in structures:
        if "local_energy" in atoms.arrays:
            energy = atoms.get_potential_energy()
            assert atoms.arrays["local_energy"].sum() == pytest.approx(energy, abs=1e-9)


def calculator(kind: str) -> Calculator:
    module = kind_module(kind)
    made: Calculator
    if kind.startswith("si"):
        made = module.Manybody(**module.StillingerWeber(module.PARAMETERS))
    elif "alloys" in kind:
        made = module.EMT()
    else:
        made = kind_module("xtb_clusters").TBLite(verbosity=0)
    return made


def test_forces_are_minus_the_gradient(spec: DatasetSpec, structures: list[Atoms]) -> None:
    atoms = structures[3]
    energies = []
    for step in (1e-4, -1e-4):
        moved = atoms.copy()
        moved.calc = calculator(spec.kind)
        moved.positions[0, 1] += step
        energies.append(moved.get_potential_energy())
    slope = (energies[1] - energies[0]) / 2e-4
    assert slope == pytest.approx(atoms.get_forces()[0, 1], abs=2e-4)


def test_unrelated_families_differ_and_sizes_vary(
    spec: DatasetSpec, structures: list[Atoms]
) -> None:
    table = store.structure_table(structures)
    assert table["structure"].is_unique
    assert table["energy"].is_unique
    n_sizes = table["n_atoms"].nunique()
    assert n_sizes == N_SIZES.get(spec.kind, n_sizes)
    assert n_sizes > 4 or spec.kind in N_SIZES
    assert (table.filter(regex="^n_[A-Z]").sum(axis=1) == table["n_atoms"]).all()


@pytest.mark.parametrize("kind", sorted(GEOMETRIC))
@settings(max_examples=15)
@given(n=st.integers(1, 900), n_parts=st.integers(1, 9))
def test_plans_are_exact_and_dealt_out_once(kind: str, n: int, n_parts: int) -> None:
    spec = small(kind, n)
    plan = generate.plan(spec, "smoke")
    assert sum(family.n_structures for family in plan) == n
    assert len({family.id for family in plan}) == len(plan)
    dealt = [f.id for p in range(n_parts) for f in generate.families_of_part(plan, p, n_parts)]
    assert sorted(dealt) == sorted(family.id for family in plan)


def test_shared_base_geometries_stay_in_one_family() -> None:
    spec = DatasetSpec(description="", kind="xtb_clusters", seed=3, n_structures=2400)
    plan = generate.plan(spec, "smoke")
    bases = [f.what["what"] for f in plan if f.phase == "molecule"]
    assert len(set(bases)) == len(bases)
    for phase in ("alkane", "polyene", "silane"):
        lengths = [f.what["what"] for f in plan if f.phase == phase]
        assert len(set(lengths)) == len(lengths)
    assert min(len(f.what["what"]) for f in plan if f.phase == "cluster") >= 2


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 12))
def test_packed_molecules_keep_apart(seed: int, n: int) -> None:
    parts = [molecules.named("H2O")] * n
    cluster = molecules.packed(parts, np.random.default_rng(seed), 0.8, 2.0)
    distances = cluster.get_all_distances().reshape(n, 3, n, 3)
    for i in range(n):
        distances[i, :, i, :] = np.inf
    assert distances.min() >= 2.0


@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_series_have_sensible_bonds(n: int) -> None:
    rng = np.random.default_rng(n)
    for atoms in (molecules.alkane(n), molecules.polyene(n), molecules.silane(n, rng)):
        distances = atoms.get_all_distances() + 9 * np.eye(len(atoms))
        hydrogen = atoms.numbers == 1
        assert distances[hydrogen][:, ~hydrogen].min() == pytest.approx(
            1.48 if 14 in atoms.numbers else 1.09
        )
        assert ((distances[hydrogen][:, ~hydrogen] < 1.6).sum(axis=1) == 1).all()
        assert distances[hydrogen][:, hydrogen].min() > 1.7


def test_strain_of_a_cell_moves_its_atoms_along() -> None:
    base = Atoms("Si2", [(0, 0, 0), (1, 1, 1)], cell=[4, 5, 6], pbc=True)
    deformed = strained(base, np.random.default_rng(0), 0.05)
    np.testing.assert_allclose(deformed.get_scaled_positions(), base.get_scaled_positions())
    deformation = np.linalg.solve(base.cell.array, deformed.cell.array)
    np.testing.assert_allclose(deformation, deformation.T)


def test_lammps_and_labels_share_their_potential(tmp_path: Path) -> None:
    crystal = bulk("Si", "diamond", a=5.3, cubic=True) * (2, 2, 2)
    crystal.positions += families.rattles(np.random.default_rng(4), 64, 0.2)
    (tmp_path / "Si.sw").write_text(melts.potential_file(kind_module("si_sw").PARAMETERS))
    with closing(melts.start()) as engine:
        melts.set_up(engine, crystal, tmp_path / "Si.sw")
        engine.command("run 0")
        forces = np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3)
    crystal.calc = calculator("si_sw")
    np.testing.assert_allclose(forces, crystal.get_forces(), atol=1e-6)


class Broken(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        raise RuntimeError("SCF not\nconverged")


def test_failures_are_counted_and_named() -> None:
    family = families.Family("molecule_0001", "molecule", 3, 1.0)
    broken = Broken()  # type: ignore[no-untyped-call]
    failure = families.computed(Atoms("H"), broken, family, 2)
    assert isinstance(failure, families.Failure)
    assert failure == families.Failure("molecule_0001-002", "RuntimeError: SCF not converged")
    table = generate.failure_table([failure])
    assert table.to_dict("records") == [
        {"structure": "molecule_0001-002", "reason": "RuntimeError: SCF not converged"}
    ]


def test_missing_and_doubled_parts_are_refused() -> None:
    spec = small("si_sw", 4)
    built = generate.generate_part(spec, "smoke")[0]
    with pytest.raises(PeslossError, match="3 distinct of 3 structures; needed: 4"):
        generate.collect(spec, "smoke", [built[:3]])
    failed = generate.failure_table([families.Failure(str(built[3].info["structure"]), "x")])
    assert len(generate.collect(spec, "smoke", [built[:3]], [failed])[1]) == 1
    with pytest.raises(PeslossError, match="4 distinct of 5"):
        generate.collect(spec, "smoke", [built, built[:1]])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_datasets_are_valid(path: Path) -> None:
    spec = load_dataset_spec(path)
    for preset in ("smoke", "default", "full"):
        size = spec.size(preset)
        assert (size is None) == (spec.origin == "subset")
        assert size is None or size > 0
        if spec.origin == "generated":
            planned = sum(family.n_structures for family in generate.plan(spec, preset))
            assert planned == spec.size(preset)
    if spec.origin == "drawn":
        assert len(generate.draw(spec, "smoke")) == spec.size("smoke")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: label", "kind is 'label'; allowed: alloys_one_state, emt_alloys, files, "),
        ("kind: labels\nsize: 3", "unknown key 'size'; allowed: description"),
        (
            "kind: labels\nrecipe: {kapa: 1}",
            "recipe: unknown key 'kapa'; allowed: correlations, kappa",
        ),
        (
            "kind: labels\nrecipe: {species: {Xy: {}}}",
            "species.Xy is 'Xy'; not the symbol",
        ),
        ("kind: si_sw\nrecipe: {n_twins: 0}", "recipe: n_twins is 0; input should be greater"),
        ("kind: emt_alloys\nrecipe: {species: [Fe]}", "species"),
        ("kind: xtb_clusters\nrecipe: {shares: {molecles: 1}}", "shares"),
        ("kind: si_sw\nrecipe: {n_atoms_melt: [65]}", "n_atoms_melt"),
        ("kind: fragments\nrecipe: {molecules: [H3O]}", "molecules.0 is 'H3O'; no molecule of"),
        ("kind: fragments\nrecipe: {rattle: [0.0, 0.1]}", "rattle is 0; allowed: above 0"),
        (
            "kind: silicon_one_state\nrecipe: {n_atoms: [8, 32]}",
            "n_atoms is 32; allowed: of a crystal 8, 64, 216, 512, 1000, …",
        ),
        ("kind: silicon_one_state\nrecipe: {spread: 0.6}", "spread is 0.6"),
        ("kind: alloys_one_state\nrecipe: {grid: 3}", "grid is 3; allowed: a divisor of 32"),
        ("kind: labels\ntruth: {sigma: 1.0}", "key 'truth.formula' is missing"),
        (
            "kind: labels\ntruth: {formula: x, sigma: 1.0, tau: 0.1}",
            "truth: crossing is None; allowed: with a tau above 0 alone",
        ),
        (
            "kind: labels\ntruth: {formula: x, sigma: 1.0, tau: 0.1, crossing: 90.0}",
            "truth: crossing is 90; allowed: σ²/τ² of sigma and tau, 100",
        ),
    ],
)
def test_mistakes_are_named_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"description: x\nn_structures: 10\n{text}\n")
    with pytest.raises(PeslossError) as caught:
        load_dataset_spec(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_preset_is_named() -> None:
    with pytest.raises(PeslossError, match="preset is 'huge'; allowed: smoke"):
        small("si_sw").size("huge")
