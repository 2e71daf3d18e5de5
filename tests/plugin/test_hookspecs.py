"""The contract explains itself, and costs nothing to import."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
import types
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import numpy as np
import pluggy
import pytest

from initreg import OpenOptions, Source
from initreg.plugin import hookspecs
from initreg.plugin.registry import Registry

HOOKS = ("initreg_claim", "initreg_open", "initreg_save", "initreg_target")


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


def test_the_format_that_the_contract_shows_works(tmp_path: Path) -> None:
    """The example in the module's docstring, as it is there, opens a file."""
    text = inspect.getdoc(hookspecs) or ""
    (example,) = re.findall(r"^    from initreg import .*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    plugin = types.ModuleType("example")
    exec(textwrap.dedent(example), vars(plugin))
    registry = Registry(())
    assert registry.register(plugin, "raw").broken is None
    (tmp_path / "w.raw").write_bytes(b"RAW1" + np.arange(6, dtype="<f4").tobytes())
    with registry.open(Source(tmp_path / "w.raw")) as arrays:
        assert arrays["w"].read().tolist() == [[0, 1, 2], [3, 4, 5]]


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
