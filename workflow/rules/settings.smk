"""Refuses a config.yaml that Snakemake would wait for, or stumble over with a traceback."""

from snakemake.exceptions import WorkflowError

from pesloss.job.errors import PeslossError
from pesloss.spec.yaml_files import read_yaml

try:
    read_yaml("config/config.yaml")
except PeslossError as error:
    raise WorkflowError(str(error))
