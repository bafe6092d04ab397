"""config/datasets/NAME.yaml: which kind of dataset, how many structures, from what recipe."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, Field

from pesloss.data import kinds
from pesloss.errors import wrong_value
from pesloss.specification import PositiveInt, Strict, load, parse


class DatasetSpec(Strict):
    """A dataset; its name is the stem of its file."""

    description: str = Field(description="what it is, in a sentence")
    kind: str = Field(description="file in src/pesloss/data/kinds")
    seed: int = Field(0, ge=0, description="seed of everything random in it")
    n_structures: PositiveInt | dict[str, PositiveInt] = Field(
        description="number of structures, or one for each preset"
    )
    recipe: dict[str, Any] = Field({}, description="parameters of the kind")

    def size(self, preset: str, where: str = "dataset") -> int:
        """Return the number of structures under ``preset``.

        Raises
        ------
        PeslossError
            When the dataset has no such preset.
        """
        if isinstance(self.n_structures, int):
            return self.n_structures
        if preset not in self.n_structures:
            raise wrong_value(where, "preset", preset, sorted(self.n_structures))
        return self.n_structures[preset]

    def parsed_recipe(self, where: str = "dataset") -> BaseModel:
        """Return the recipe, checked and with its defaults filled in."""
        model: type[BaseModel] = kind_module(self.kind, where).Recipe
        return parse(model, self.recipe, f"{where}: recipe")

    def described(self) -> dict[str, Any]:
        """Return kind, seed and the whole recipe, defaults included, to be kept with the data."""
        recipe = self.parsed_recipe().model_dump(mode="json")
        return {"kind": self.kind, "seed": self.seed, **recipe}

    def has_geometry(self) -> bool:
        """Tell whether structures have positions (plan and build) or are drawn as a table."""
        return hasattr(kind_module(self.kind), "plan")


def kind_names() -> list[str]:
    """List the kinds: the files of ``pesloss.data.kinds``."""
    files = (path for folder in kinds.__path__ for path in Path(folder).glob("*.py"))
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


def kind_module(kind: str, where: str = "dataset") -> ModuleType:
    """Import the module of a kind.

    Raises
    ------
    PeslossError
        When there is no such file.
    """
    if kind not in kind_names():
        raise wrong_value(where, "kind", kind, kind_names())
    return importlib.import_module(f"{kinds.__name__}.{kind}")


def load_dataset_spec(path: Path | str) -> DatasetSpec:
    """Read and check a dataset file, its recipe included.

    Raises
    ------
    PeslossError
        One line with file, key, value and what is allowed.
    """
    spec = load(DatasetSpec, path)
    spec.parsed_recipe(str(path))
    return spec
