"""A plan takes seconds of a processor, also of many runs; a busy machine does not count."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import Tiny
from projects import copy_project, environment

SECONDS = {1: 8.0, 10: 40.0}
"""At most, by how many times the runs of the default preset; see `test_a_plan_takes_seconds`."""


@pytest.fixture(scope="module")
def project(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("plan") / "project", tiny.structures)


@pytest.mark.parametrize("times", SECONDS)
def test_a_plan_takes_seconds(project: Path, times: int) -> None:
    """3 s and 6 s of a processor where this was written."""
    seeds = project / "seeds.yaml"
    seeds.write_text(yaml.safe_dump({"seeds": list(range(5 * times))}), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--cores", "2", "--configfile", str(seeds)],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    trainings = re.search(r"preset default: (\d+) trainings", done.stdout + done.stderr)
    assert trainings
    assert int(trainings[1]) > 500 * times
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert took < SECONDS[times], took
