"""The whole suite as its configuration describes it: datasets, models, ablations and their runs."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from pesloss import losses
from pesloss.claims import measures as statistics
from pesloss.data.kinds import files
from pesloss.data.spec import DatasetSpec, Origin, load_dataset_spec
from pesloss.job.code_digest import constants
from pesloss.job.errors import PeslossError, wrong_value
from pesloss.plan.groups import PATTERN, Group, grouped
from pesloss.spec.config import Ablation, MoreSeeds, RunGrid, SuiteConfig
from pesloss.spec.config_files import (
    check_files,
    check_folder,
    known_presets,
    read_claims,
    read_more_seeds,
    with_more_seeds,
)
from pesloss.spec.manifest import EVALUATED, EVALUATION, RECORD, TRAINED
from pesloss.spec.names import Names, titles
from pesloss.spec.run import WILDCARDS, Run, settings_of
from pesloss.spec.settings import ModelSpec, TrainingSpec
from pesloss.spec.yaml_files import named_files
from pesloss.spec.yaml_models import check_names, load_all, parse

FIGURES = Path(__file__).parents[1] / "report" / "figures"
OWN = "own"
MOST_RUNS = 100_000
Unavailable = Callable[[Mapping[str, DatasetSpec], SuiteConfig], Mapping[str, str]]


@dataclass(frozen=True)
class Suite:
    """Everything under config/, checked as a whole."""

    config: SuiteConfig
    datasets: dict[str, DatasetSpec]
    models: dict[str, ModelSpec]
    ablations: dict[str, Ablation]
    left_out: dict[str, str] = field(default_factory=dict)
    """Datasets whose files cannot be had here, and why."""
    parents: dict[str, DatasetSpec] = field(default_factory=dict)
    """Datasets that are needed only because subsets are taken from them."""
    claims: dict[str, str] = field(default_factory=dict)
    """What claims and questions say, by number."""
    run_pattern: str = WILDCARDS
    group_pattern: str = PATTERN

    @classmethod
    def read(
        cls,
        config: Mapping[str, Any],
        folder: Path,
        unavailable: Unavailable = lambda specs, config: {},
        files: Sequence[Path | str] = (),
        more: MoreSeeds | None = None,
    ) -> "Suite":
        """Read and check the configuration.

        Parameters
        ----------
        config
            The content of config.yaml with presets and command-line settings merged in.
        folder
            The folder config/.
        unavailable
            Says which datasets' files cannot be had, and why: they are left out, unless they were
            asked for by name.
        files
            The files whose content was merged: each is checked on its own first, since a repeated
            key is not seen any more where files have been merged.
        more
            Further seeds; left out: those of config/more_seeds.yaml.

        Raises
        ------
        PeslossError
            One line that names the file, the key, the wrong value and the allowed ones.
        """
        check_folder(folder)
        where, origins = check_files(files, folder, config)
        settings = parse(SuiteConfig, dict(config), where)
        presets = known_presets(folder)
        check_names(origins.get("preset", where), "preset", [settings.preset], presets)
        datasets = _datasets(folder / "datasets")
        ablations = _with_own(load_all(Ablation, folder / "ablations"), datasets)
        more = read_more_seeds(folder) if more is None else more
        ablations = with_more_seeds(ablations, settings, more, folder)
        ablations = {
            name: statistics.completed(ablation, str(folder / "ablations" / f"{name}.yaml"))
            for name, ablation in ablations.items()
        }
        for key, wanted, known in (
            ("datasets", settings.datasets, datasets),
            ("ablations", settings.ablations, ablations),
        ):
            check_names(origins.get(key, where), key, wanted or (), known)
        models, claims = load_all(ModelSpec, folder / "models"), read_claims(folder)
        suite = cls(settings, datasets, models, ablations, claims=claims)
        for name in ablations:
            suite._check(name, folder / "ablations" / f"{name}.yaml")
        suite._check_results(folder.parent, where)
        return suite._restricted(unavailable, folder, where)

    def _check(self, name: str, path: Path) -> None:
        ablation, where = self.ablations[name], str(path)
        check_names(where, "datasets", ablation.datasets, self.datasets)
        for place, claim in enumerate(ablation.claims):
            if claim.claim not in self.claims:
                raise wrong_value(where, f"claims.{place}.claim", claim.claim, list(self.claims))
            module = statistics.load(claim.statistic, where, claim.options)
            if module.SCOPE != "labels" and ablation.runs is None:
                raise PeslossError(
                    f"{where}: runs is missing; {claim.statistic} needs trained models"
                )
            if module.SCOPE == "labels" and claim.losses is not None:
                allowed = f"none, {claim.statistic} is about labels"
                raise wrong_value(where, f"claims.{place}.losses", list(claim.losses), allowed)
        if ablation.runs is not None:
            self._check_runs(ablation, ablation.runs, where)

    def _check_results(self, project: Path, where: str) -> None:
        """Refuse a results folder in whose place there is a file."""
        path = project / self.config.results
        for place in (path, *path.parents):
            if place.exists() and not place.is_dir():
                allowed = f"a folder, but {place} is a file"
                raise wrong_value(where, "pathvars.results", str(self.config.results), allowed)

    def _check_runs(self, ablation: Ablation, grid: RunGrid, where: str) -> None:
        for key, wanted, known in (
            ("models", grid.models, list(self.models)),
            ("energy_losses", grid.energy_losses, losses.names("energy")),
            ("force_losses", grid.force_losses, losses.names("forces")),
        ):
            check_names(where, f"runs.{key}", wanted, known)
        without = [name for name in ablation.datasets if not self.datasets[name].has_forces()]
        if without:
            known = [name for name, spec in self.datasets.items() if spec.has_forces()]
            raise wrong_value(where, "datasets", without[0], f"with runs: {', '.join(known)}")
        number = number_of_runs(grid, self.config) * len(ablation.datasets)
        if number > MOST_RUNS:
            raise PeslossError(f"{where}: runs are {number} trainings; allowed: up to {MOST_RUNS}")
        changed = {(run.model, run.changes): run for run in self._examples(ablation)}
        for run in changed.values():
            settings_of(run, self.models[run.model], self.config.training, f"{where}: runs.vary")

    def _examples(self, ablation: Ablation) -> Iterator[Run]:
        """Yield runs of an ablation among which each model has each change of settings."""
        if ablation.runs is not None:
            one: dict[str, tuple[Any, ...]] = {"force_weights": (1.0,), "seeds": (0,)}
            one |= {"energy_losses": ("raw",), "force_losses": ("raw",), "metrics": ("mse",)}
            grid = ablation.runs.model_copy(update=one)
            yield from _expand(grid, self.config, self.models, "")

    def _restricted(self, unavailable: Unavailable, folder: Path, where: str) -> "Suite":
        chosen = self.config.ablations or tuple(self.ablations)
        kept = {name: self.ablations[name] for name in chosen}
        wanted = set(self.config.datasets or self.datasets)
        used = {name for a in kept.values() for name in a.datasets if name in wanted}
        specs = {name: self.datasets[name] for name in sorted(used)}
        left_out = dict(unavailable(specs, self.config))
        for name in self.config.datasets or ():
            if name in left_out:
                raise PeslossError(f"{folder / 'datasets' / name}.yaml: {left_out[name]}")
        datasets = [
            name for name in self.config.datasets or tuple(self.datasets) if name not in left_out
        ]
        parents = {self.datasets[name].parent for name in datasets} - {None, *datasets}
        with_data = {n: a for n, a in kept.items() if set(a.datasets) & set(datasets)}
        for name in self.config.ablations or ():
            if name not in with_data:
                allowed = f"those with one of the datasets {', '.join(datasets) or 'there are'}"
                raise wrong_value(where, "ablations", name, allowed)
        if not with_data:
            raise wrong_value(where, "datasets", datasets, "some that an ablation uses")
        suite = Suite(
            self.config,
            {name: self.datasets[name] for name in datasets},
            self.models,
            with_data,
            left_out,
            {name: spec for name, spec in self.datasets.items() if name in parents},
            self.claims,
        )
        for name, spec in suite.made.items():
            file = f"{folder / 'datasets' / name}.yaml"
            size, needed = spec.size(self.config.preset, file), len(self.config.splits)
            if size is not None and size < needed:
                raise wrong_value(file, "n_structures", size, f"{needed} or more, one for a split")
        return suite

    @property
    def names(self) -> Names:
        """What the datasets and models of the suite, and all claims, are called."""
        return Names(titles(self.datasets), titles(self.models), self.claims)

    @property
    def made(self) -> dict[str, DatasetSpec]:
        """The datasets of the suite and those that subsets of it are taken from."""
        return {**self.parents, **self.datasets}

    def datasets_of(self, ablation: str) -> list[str]:
        """Return the datasets an ablation uses, of those that are in the suite."""
        found = [name for name in self.ablations[ablation].datasets if name in self.datasets]
        return found[: self.config.most.datasets]

    def runs_of(self, ablation: str) -> list[Run]:
        """Return the runs of an ablation."""
        if ablation not in self._runs_of:
            spec, datasets = self.ablations[ablation], tuple(self.datasets_of(ablation))
            found = set(expand(spec, self.config, self.models, datasets))
            self._runs_of[ablation] = sorted(found)
        return self._runs_of[ablation]

    @cached_property
    def _runs_of(self) -> dict[str, list[Run]]:
        return {}

    def inputs_of(self, ablation: str) -> list[str]:
        """Return the further results that the statistics of an ablation's claims need.

        Paths below the results folder: ``INPUTS`` of each dataset, and those ``RUN_INPUTS`` of each
        run that its training and evaluation do not write.
        """
        claims = self.ablations[ablation].claims
        modules = [statistics.load(claim.statistic) for claim in claims]
        datasets, runs = self.datasets_of(ablation), self.runs_of(ablation)
        found = [
            path.format(dataset=dataset)
            for module in modules
            for path in getattr(module, "INPUTS", ())
            for dataset in datasets
        ]
        found += [
            f"runs/{run.folder}/{name}"
            for module in modules
            for name in getattr(module, "RUN_INPUTS", ())
            if name not in (*TRAINED, *EVALUATED)  # which the runs' receipts speak of
            for run in runs
        ]
        return sorted(set(found))

    def manifests(self) -> list[str]:
        """Return the manifests of all runs, paths below the results folder."""
        found = {f"runs/{run.folder}/{name}" for run in self.runs for name in (RECORD, EVALUATION)}
        further = (path for name in self.ablations for path in self.inputs_of(name))
        return sorted(found | {path for path in further if fnmatch(path, "runs/*.json")})

    def ablations_with(self, *measured: str) -> list[str]:
        """Return the ablations that have a claim with one of these statistics."""
        return [
            name
            for name, ablation in self.ablations.items()
            if any(claim.statistic in measured for claim in ablation.claims)
        ]

    def datasets_needing(self, path: str) -> list[str]:
        """Return the datasets of which some claim needs the further result ``path``."""
        needed = {found for name in self.ablations for found in self.inputs_of(name)}
        return [name for name in self.datasets_in_use if path.format(dataset=name) in needed]

    @cached_property
    def runs(self) -> list[Run]:
        """The runs of all ablations, each once."""
        return sorted({run for name in self.ablations for run in self.runs_of(name)})

    @cached_property
    def groups(self) -> list[Group]:
        """The runs of all ablations as they are trained together."""
        return grouped(self.runs, self.models, self.config.training)

    @cached_property
    def group_of(self) -> dict[Run, Group]:
        """The group of each run."""
        return {run: group for group in self.groups for run in group.runs}

    @cached_property
    def group_in(self) -> dict[str, Group]:
        """The group of each folder below results/groups."""
        return {str(group.folder): group for group in self.groups}

    def receipts(self, runs: Iterable[Run]) -> list[str]:
        """Return the receipts of the groups of runs, each once, below the results folder."""
        return sorted({self.group_of[run].receipt for run in runs})

    @property
    def datasets_in_use(self) -> list[str]:
        """Datasets that some ablation uses."""
        return sorted({name for ablation in self.ablations for name in self.datasets_of(ablation)})

    def kind(self, dataset: str) -> str:
        """Return the module of a dataset's kind."""
        return f"pesloss.data.kinds.{self.made[dataset].kind}"

    def of_origin(self, origin: Origin) -> list[str]:
        """Return the datasets that are generated, drawn, read from files or taken from others."""
        return [name for name, spec in self.made.items() if spec.origin == origin]

    def readers(self, dataset: str) -> list[str]:
        """Return the modules that read the files of a dataset."""
        sources = getattr(self.datasets[dataset].parsed_recipe(), "sources", ())
        return sorted({f"pesloss.data.readers.{source.format}" for source in sources})

    def own_files(self, dataset: str) -> list[str]:
        """Return the local files a dataset is read from, for Snakemake to watch."""
        recipe = self.datasets[dataset].parsed_recipe()
        return recipe.own_files() if isinstance(recipe, files.Recipe) else []

    def settings_of(self, run: Run) -> tuple[ModelSpec, TrainingSpec]:
        """Return the settings of a run's model and training, its changes applied."""
        return settings_of(run, self.models[run.model], self.config.training)

    @property
    def figures(self) -> list[str]:
        """Names of the figures: the files of ``pesloss/report/figures``."""
        return sorted(path.stem for path in FIGURES.glob("*.py") if path.stem[0] != "_")

    def sources(self, figure: str) -> tuple[str, ...]:
        """Return the tables a figure is drawn from: the ``SOURCES`` of its file."""
        return tuple(_constant(figure, "SOURCES"))

    def caption(self, figure: str) -> str:
        """Return what is to be seen in a figure: the ``CAPTION`` of its file."""
        return str(_constant(figure, "CAPTION"))


def _datasets(folder: Path) -> dict[str, DatasetSpec]:
    found = {name: load_dataset_spec(path) for name, path in named_files(folder).items()}
    if OWN in found:
        raise PeslossError(f"{folder / OWN}.yaml: name is {OWN!r}; it stands for all of one's own")
    return found


def _with_own(
    ablations: Mapping[str, Ablation], datasets: Mapping[str, DatasetSpec]
) -> dict[str, Ablation]:
    """Put the datasets that no ablation names in the place of ``own``; with runs: with forces."""
    named = {name for ablation in ablations.values() for name in ablation.datasets}
    own = [name for name in datasets if name not in named]
    trainable = [name for name in own if datasets[name].has_forces()]
    return {
        name: ablation.model_copy(
            update={"datasets": _replaced(ablation.datasets, trainable if ablation.runs else own)}
        )
        for name, ablation in ablations.items()
    }


def _replaced(names: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for n in names for name in (own if n == OWN else (n,)))


def _constant(figure: str, wanted: str) -> Any:
    found = constants(FIGURES / f"{figure}.py")
    if wanted not in found:
        raise PeslossError(f"pesloss/report/figures/{figure}.py: {wanted} is missing")
    return found[wanted]


def expand(
    ablation: Ablation,
    config: SuiteConfig,
    models: Mapping[str, ModelSpec],
    datasets: tuple[str, ...],
) -> Iterator[Run]:
    """Yield the runs of an ablation on those of its datasets that are in ``datasets``.

    A setting that is "varied" to the value it has anyway is no change: such a run is the one that
    other ablations train.
    """
    grid = ablation.runs
    if grid is None:
        return
    for dataset in ablation.datasets:
        if dataset in datasets:
            yield from _expand(grid, config, models, dataset)


def number_of_runs(grid: RunGrid, config: SuiteConfig) -> int:
    """Return how many runs a grid has on one dataset, without listing them."""
    parts: list[Sequence[object]] = [grid.models, grid.energy_losses, grid.force_losses]
    parts += [grid.metrics, *_swept(grid, config), *_values_tried(grid, config)]
    return math.prod(map(len, parts))


def _swept(grid: RunGrid, config: SuiteConfig) -> tuple[tuple[float, ...], tuple[int, ...]]:
    weights = _force_weights(grid, config)[: config.most.force_weights]
    return weights, (grid.seeds or config.seeds)[: config.most.seeds]


def _values_tried(grid: RunGrid, config: SuiteConfig) -> list[tuple[float | str, ...]]:
    return [values[: config.most.values] for values in grid.vary.values()]


def _expand(
    grid: RunGrid, config: SuiteConfig, models: Mapping[str, ModelSpec], dataset: str
) -> Iterator[Run]:
    weights, seeds = _swept(grid, config)
    for model in grid.models:
        changes = _changes(grid, config, models[model])
        for energy, force, metric, weight, seed, changed in itertools.product(
            grid.energy_losses, grid.force_losses, grid.metrics, weights, seeds, changes
        ):
            yield Run(dataset, model, energy, force, metric, weight, seed, changed)


def _changes(
    grid: RunGrid, config: SuiteConfig, model: ModelSpec
) -> list[tuple[tuple[str, float], ...]]:
    """Return every combination of varied settings, without those that a model has anyway."""
    usual = {**config.training.model_dump(), **model.model_dump()}
    return [
        tuple(
            (key, number)
            for key, value in zip(grid.vary, values, strict=True)
            if usual[key] != (number := _value(value, usual[key]))
        )
        for values in itertools.product(*_values_tried(grid, config))
    ]


def _value(value: float | str, usual: float) -> float:
    """Return a value of a varied setting; ``5x`` is five times the usual one."""
    return float(value.removesuffix("x")) * usual if isinstance(value, str) else value


def _force_weights(grid: RunGrid, config: SuiteConfig) -> tuple[float, ...]:
    if config.sweep_everywhere or not grid.force_weights:
        return tuple(sorted({*config.force_weights, *(grid.force_weights or ())}))
    return grid.force_weights
