"""A project in which every job counts as done, planned again within the test's process."""

from collections import defaultdict
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.executors import touch
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

from pesloss.job.files import write_json
from pesloss.spec.manifest import write_manifest
from pesloss.spec.run import WILDCARDS
from pesloss.spec.yaml_files import read_yaml

Planned = dict[str, set[str]]
"""Wildcards of the jobs to be run, by rule."""


class Plan:
    """Files of the right names, empty, and Snakemake's word that each was made as is asked now."""

    def __init__(self, project: Path, config: Mapping[str, Any], patch: pytest.MonkeyPatch) -> None:
        self.config = dict(config)
        patch.chdir(project)
        patch.setattr(touch.Executor, "SLEEPING_TIME", 0.0)

    def finish(self) -> None:
        """Let every job count as done."""
        for job in self.every():
            for path in map(Path, job.output):
                _invent(path, is_folder=path.suffix == "")
        self._jobs("touch", all_of_them=True)

    def jobs(self) -> tuple[Planned, Planned]:
        """The jobs to be run now: all, and those that no job before them is the reason of."""
        dag = self._jobs("dryrun")
        found: tuple[Planned, Planned] = (defaultdict(set), defaultdict(set))
        for job in dag.needrun_jobs(exclude_finished=False):
            if job.rule.name != "all":
                own = not dag.reason(job).updated_input_run
                for planned in found if own else found[:1]:
                    planned[job.rule.name].add("/".join(map(str, job.wildcards)))
        return found

    def every(self) -> list[Any]:
        """Snakemake's jobs, those that count as done among them."""
        return list(self._jobs("dryrun").jobs)

    def after(self, file: str, *keys: str | int, value: object) -> tuple[Planned, Planned]:
        """`jobs` when a value of a file is another, which is then put back; no key: a comment."""
        path = Path(file)
        before = path.read_text(encoding="utf-8")
        content: Any = read_yaml(path)
        if keys:
            inner = reduce(lambda found, key: found[key], keys[:-1], content)
            inner[keys[-1]] = value
        text = yaml.safe_dump(content, sort_keys=False)
        path.write_text(f"# {value}\n{text}", encoding="utf-8")
        found = self.jobs()
        path.write_text(before, encoding="utf-8")
        return found

    def _jobs(self, executor: str, all_of_them: bool = False) -> Any:
        files = [Path("config/presets/smoke.yaml")]
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=files, config=self.config),
                snakefile=Path("Snakefile"),
            )
            workflow.dag(DAGSettings(forceall=all_of_them)).execute_workflow(executor=executor)
            return workflow._workflow.dag


def _invent(path: Path, is_folder: bool) -> None:
    (path if is_folder else path.parent).mkdir(parents=True, exist_ok=True)
    if path.name == "group.json":
        write_json(path, {"runs": {}})
    elif path.suffix == ".json" and "runs" in path.parts:
        folder = "/".join(path.parent.parts[-WILDCARDS.count("/") - 1 :])
        write_manifest(path, {"run": folder}, [])
    elif not is_folder:
        path.touch()
