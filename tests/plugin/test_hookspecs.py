"""The contract fits on one screen, explains itself, and costs nothing to import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pluggy
import pytest

from initreg import OpenOptions
from initreg.plugin import hookspecs

HOOKS = ("initreg_claim", "initreg_open", "initreg_save", "initreg_target")


def test_contract_fits_on_one_screen() -> None:
    """Ninety lines at the most: what does not fit belongs elsewhere."""
    lines = Path(hookspecs.__file__).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90


def test_hooks_are_those_and_each_is_documented() -> None:
    """Every function of the module is a hook that pluggy knows, and says what it is for."""
    functions = inspect.getmembers(hookspecs, inspect.isfunction)
    defined = {name for name, found in functions if found.__module__ == hookspecs.__name__}
    assert defined == set(HOOKS)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for name in HOOKS:
        assert getattr(manager.hook, name).spec is not None
        text = inspect.getdoc(getattr(hookspecs, name)) or ""
        assert len(text.split()) >= 10, name


def test_hooks_have_the_arguments_that_the_guide_shows() -> None:
    """Names of arguments are part of the contract: pluggy passes them by name."""
    arguments = {
        name: list(inspect.signature(getattr(hookspecs, name)).parameters) for name in HOOKS
    }
    assert arguments == {
        "initreg_claim": ["source"],
        "initreg_open": ["source", "options"],
        "initreg_save": ["arrays", "output", "options"],
        "initreg_target": ["obj"],
    }


def test_options_are_safe_unless_the_user_says_otherwise() -> None:
    """No pickle, and checksums on; a plugin cannot change what the user asked for."""
    options = OpenOptions()
    assert (options.allow_pickle, options.verify) == (False, True)
    for field in fields(options):
        with pytest.raises(FrozenInstanceError):
            setattr(options, field.name, None)


def test_importing_the_contract_imports_no_library_of_arrays() -> None:
    """What a plugin imports to claim a file brings in neither numpy nor any framework."""
    program = (
        "import sys; from initreg import Claim, Confidence, DamagedFile, Extent, OpenOptions\n"
        "from initreg import RefusedFile, SlicedExtent, Source, Target, VariableSpec, hookimpl\n"
        "import initreg.plugin.hookspecs, initreg.plugin.registry\n"
        "print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "ml_dtypes", "h5py", "safetensors", "tensorflow", "keras", "rich"}
    assert heavy & set(run.stdout.split()) == set()
