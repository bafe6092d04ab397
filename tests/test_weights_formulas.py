"""Weights put into written-out formulas of the codes that read them, from their own sources."""

from collections.abc import Callable
from io import StringIO

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write
from batches import SCALES
from numpy.typing import NDArray

from pesloss.adapters.weights import weighted
from pesloss.job.errors import PeslossError
from pesloss.losses import energy_loss, names
from pesloss.losses.presets import preset

Array = NDArray[np.float64]
SIZES = (2, 5, 16, 64, 300)


def structures(seed: int = 1) -> list[Atoms]:
    """Structures of different sizes and compositions, periodic as NEP wants them."""
    rng = np.random.default_rng(seed)
    return [
        Atoms(rng.choice(["H", "C", "O"], n), rng.normal(size=(n, 3)), cell=3 * [20.0], pbc=True)
        for n in SIZES
    ]


def read_as_nep(atoms: Atoms) -> tuple[float, float]:
    """`weight` and `energy_weight` as GPUMD v5.6 reads them, src/main_nep/structure.cu:196-263.

    Keys in any case of letters, the last of several, 1 where there is none.
    """
    text = StringIO()
    write(text, atoms, format="extxyz")
    found = {"weight": 1.0, "energy_weight": 1.0}
    for token in text.getvalue().splitlines()[1].lower().split():
        key, _, value = token.partition("=")
        if key in found:
            found[key] = float(value)
    assert 0 < found["weight"] <= 100
    return found["weight"], found["energy_weight"]


def nep_energy(error: Array, n_atoms: Array, weight: Array, energy_weight: Array) -> float:
    """Training loss of a batch's energies, GPUMD v5.6 src/main_nep/dataset.cu:823-950."""
    per_atom = error / n_atoms
    shift = (per_atom * energy_weight).sum() / energy_weight.sum()  # lines 853, 912-920
    squares = (per_atom - shift) ** 2 * energy_weight  # lines 887-888
    return float(np.sqrt((weight**2 * squares).mean()))  # lines 937, 947


def nep_before_4(error: Array, n_atoms: Array, weight: Array, _: Array) -> float:
    """The same in GPUMD v3.9.5, src/main_nep/dataset.cu:441-563."""
    per_atom = error / n_atoms
    return float(np.sqrt((weight**2 * (per_atom - per_atom.mean()) ** 2).mean()))


def mace_energy(error: Array, n_atoms: Array, atoms: list[Atoms]) -> Array:
    """Terms of ``weighted``, mace/modules/loss.py:58-68; weights: mace/data/utils.py:187-196."""
    weight = np.array([a.info.get("config_weight", 1.0) for a in atoms])
    energy_weight = np.array([a.info.get("config_energy_weight", 1.0) for a in atoms])
    return np.asarray(weight * energy_weight * (error / n_atoms) ** 2)


def gap_energy(error: Array, n_atoms: Array, atoms: list[Atoms]) -> Array:
    """Squared residuals over the noise, gap_fit_module.F90:1147-1155, 1194; gp_fit.F90:1996."""
    default = 0.002 * np.sqrt(n_atoms)
    sigma = [a.info.get("energy_sigma", d) for a, d in zip(atoms, default, strict=True)]
    return np.asarray((error / np.array(sigma)) ** 2)


def wanted(error: Array, loss: str) -> Array:
    """``ΔE_k² / s_k²`` of each structure."""
    counts = torch.as_tensor(SCALES.composition(structures()), dtype=torch.float64)
    return np.asarray(error**2 / energy_loss(loss)(SCALES).scale(counts).numpy() ** 2)


def shifted(error: Array, n_atoms: Array, energy_weight: Array) -> Array:
    """The errors with the mean that NEP subtracts taken out."""
    mean = (error / n_atoms * energy_weight).sum() / energy_weight.sum()
    return np.asarray(error - n_atoms * mean)


@pytest.mark.parametrize("loss", names("energy"))
@pytest.mark.parametrize(
    ("code", "formula"), [("nep", nep_energy), ("nep_older", nep_before_4)], ids=["4.0", "3"]
)
def test_nep_counts_squared_errors_over_the_scale(
    loss: str, code: str, formula: Callable[..., float]
) -> None:
    """The value is ΔE²/s_k² of what the shift leaves, times one constant for all structures."""
    n_atoms = np.array(SIZES, dtype=float)
    read = [read_as_nep(atoms) for atoms in weighted(structures(), SCALES, code, loss)]
    weight, energy_weight = np.array(read).T
    constants = []
    for seed in range(4):
        error = np.random.default_rng(seed).normal(size=len(SIZES)) * n_atoms**0.7
        value = formula(error, n_atoms, weight, energy_weight) ** 2
        left = shifted(error, n_atoms, energy_weight)
        constants.append(value / wanted(left, loss).mean())
        terms = weight**2 * energy_weight * (left / n_atoms) ** 2 / wanted(left, loss)
        assert terms == pytest.approx(np.full(len(SIZES), constants[0]), rel=1e-12)
    assert constants == pytest.approx([constants[0]] * 4, rel=1e-12)
    assert constants[0] == pytest.approx(1 if code == "nep" else constants[0], rel=1e-12)


@pytest.mark.parametrize("loss", names("energy"))
@pytest.mark.parametrize(("code", "formula"), [("mace", mace_energy), ("gap", gap_energy)])
def test_other_codes_count_squared_errors_over_the_scale(
    loss: str, code: str, formula: Callable[..., Array]
) -> None:
    n_atoms = np.array(SIZES, dtype=float)
    error = np.random.default_rng(5).normal(size=len(SIZES)) * n_atoms
    found = formula(error, n_atoms, weighted(structures(), SCALES, code, loss))
    assert found == pytest.approx(wanted(error, loss), rel=1e-12)


def test_forces_of_nep_stay_as_they_are_but_for_older_versions() -> None:
    """`weight` counts twice in the forces (dataset.cu:422 of v3.9.5, :654 of v5.6)."""
    now = [read_as_nep(atoms)[0] for atoms in weighted(structures(), SCALES, "nep")]
    assert now == [1.0] * len(SIZES)
    older = np.array([read_as_nep(a)[0] for a in weighted(structures(), SCALES, "nep_older")])
    share = older**2 * wanted(np.ones(len(SIZES)), "standardized") ** -1 / np.array(SIZES) ** 2
    assert share == pytest.approx(np.full(len(SIZES), share[0]))


def test_gap_has_the_force_scale_of_each_species() -> None:
    """`force_atom_sigma` divides each component, gap_fit_module.F90:1219-1238."""
    eta = dict(zip(SCALES.species, SCALES.force_scale, strict=True))
    for atoms in weighted(structures(), SCALES, "gap"):
        assert atoms.arrays["force_atom_sigma"].tolist() == [eta[s] for s in atoms.symbols]


def nep_batch(seed: int) -> tuple[dict[str, torch.Tensor], Array, Array, Array]:
    """Arguments of a loss in random order, and errors, weight and energy_weight in GPUMD's."""
    rng = np.random.default_rng(seed)
    n_atoms = np.array([3, 1, 7, 12])
    error, target = rng.normal(size=4), rng.normal(size=4)
    weight, energy_weight = rng.uniform(0.1, 3, size=(2, 4))
    forces, reference = rng.normal(size=(2, n_atoms.sum(), 3))
    arguments = {
        "energy": torch.as_tensor(target + error),
        "forces": torch.as_tensor(forces),
        "target_energy": torch.as_tensor(target),
        "target_forces": torch.as_tensor(reference),
        "numbers": torch.as_tensor(rng.integers(1, 9, n_atoms.sum())),
        "owner": torch.as_tensor(np.repeat(np.arange(4), n_atoms)),
        "energy_weight": torch.as_tensor(weight**2 * energy_weight),
        "force_weight": torch.as_tensor(weight**2),
    }
    return arguments, error, weight, energy_weight


@pytest.mark.parametrize("seed", range(3))
def test_the_preset_of_nep_is_its_formula(seed: int) -> None:
    arguments, error, weight, energy_weight = nep_batch(seed)
    n_atoms = np.array([3, 1, 7, 12])
    found = preset("nep").terms(**arguments)
    energy = nep_energy(error, n_atoms, weight, energy_weight)
    assert float(found.energy) == pytest.approx(energy, rel=1e-12)
    # dataset.cu:654-667: the sum of squared errors over three times the number of atoms
    squares = ((arguments["forces"] - arguments["target_forces"]) ** 2).sum(1).numpy()
    forces = np.sqrt((np.repeat(weight**2, n_atoms) * squares).sum() / (3 * n_atoms.sum()))
    assert float(found.forces) == pytest.approx(float(forces), rel=1e-12)


def test_nep_does_not_see_an_error_that_all_atoms_share() -> None:
    arguments = nep_batch(1)[0]
    n_atoms = torch.bincount(arguments["owner"])
    before = float(preset("nep").terms(**arguments).energy)
    arguments["energy"] = arguments["energy"] + 0.4 * n_atoms.double()
    assert float(preset("nep").terms(**arguments).energy) == pytest.approx(before, rel=1e-12)


def test_the_mean_that_nep_subtracts_wants_positive_weights() -> None:
    arguments = nep_batch(1)[0]
    arguments["force_weight"][2] = 0
    with pytest.raises(PeslossError, match=r"force_weight is 0\.0; allowed: positive"):
        preset("nep")(**arguments)
