"""What a card says of the labels of foreign files: their keys and units."""

from typing import Literal, Self, get_args

from ase import units
from pydantic import Field, model_validator

from pesloss.spec.yaml_models import Strict

EnergyUnit = Literal["eV", "meV", "Hartree", "Ry", "kcal/mol", "kJ/mol"]
LengthUnit = Literal["Angstrom", "Bohr"]
StressUnit = Literal["eV/Angstrom^3", "GPa", "kbar", "Hartree/Bohr^3"]
EV: dict[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": units.Hartree,
    "Ry": units.Rydberg,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
ANGSTROM: dict[str, float] = {"Angstrom": 1.0, "Bohr": units.Bohr}
EV_PER_A3: dict[str, float] = {
    "eV/Angstrom^3": 1.0,
    "GPa": units.GPa,
    "kbar": 0.1 * units.GPa,
    "Hartree/Bohr^3": units.Hartree / units.Bohr**3,
}


class Labels(Strict):
    """Which keys of a file hold the labels, and in what units."""

    energy: str = Field(description="key of the energy")
    forces: str | None = Field(None, description="key of the forces, where there are any")
    stress: str | None = Field(None, description="key of the stress, where it is wanted")
    energy_unit: EnergyUnit = Field(description="unit of the energy")
    length_unit: LengthUnit = Field(description="unit of coordinates and cell")
    forces_unit: str | None = Field(
        None, description="ENERGY/LENGTH, such as Hartree/Angstrom; energy_unit/length_unit if none"
    )
    stress_unit: StressUnit = Field("eV/Angstrom^3", description="unit of the stress")
    stress_order: Literal["voigt", "vasp"] = Field(
        "voigt", description="of six components: xx yy zz yz xz xy, or xx yy zz xy yz zx"
    )
    stress_is_pressure: bool = Field(False, description="whether compression counts as positive")
    forces_are_gradients: bool = Field(False, description="whether to change the forces' sign")
    energy_per_atom: bool = Field(False, description="whether the file holds energy over atoms")

    @model_validator(mode="after")
    def _known_forces_unit(self) -> Self:
        if self.forces_unit is not None:
            energy, _, length = self.forces_unit.rpartition("/")
            if energy not in EV or length not in ANGSTROM:
                raise ValueError(
                    f"forces_unit is {self.forces_unit!r}; allowed: one of "
                    f"{', '.join(get_args(EnergyUnit))} over one of "
                    f"{', '.join(get_args(LengthUnit))}, as in Hartree/Bohr"
                )
        return self

    @property
    def ev_per_angstrom(self) -> float:
        """One unit of force in eV/Å, negative for gradients."""
        unit = self.forces_unit or f"{self.energy_unit}/{self.length_unit}"
        energy, _, length = unit.rpartition("/")
        factor = EV[energy] / ANGSTROM[length]
        return -factor if self.forces_are_gradients else factor
