"""Other people's training codes: imported where they are installed, skipped with a reason else."""

import importlib
import os
import warnings
from types import ModuleType

import pytest

INSTALL = "`make codes` installs it"


def code(name: str) -> ModuleType:
    """Import a module of a training code.

    Their imports warn, and MACE's sets variables of the environment, which are put back.
    """
    before = dict(os.environ)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name.partition('.')[0]} is not installed ({error}); {INSTALL}")
    finally:
        for key in set(os.environ) - set(before):
            del os.environ[key]
        os.environ.update(before)
