"""The public names, imported on first use."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import initreg

# Two names of one function, as tensorpack has them.
ALIASES = {
    "load_chkpt_vars": "load_checkpoint_vars",
    "save_chkpt_vars": "save_checkpoint_vars",
}


@pytest.mark.parametrize("name", initreg.__all__)
def test_every_public_name_is_there(name):
    """Each name of __all__ can be had, and is the one of its module."""
    found = getattr(initreg, name)
    assert name == "hookimpl" or found.__name__ in (name, ALIASES.get(name))
    home = importlib.import_module(f"initreg.{initreg._HOME[name]}")
    assert getattr(home, name) is found
    assert name in dir(initreg)


def test_an_unknown_name_is_an_attribute_error():
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="'initreg' has no attribute 'SmartInt'"):
        _ = initreg.SmartInt


def test_a_system_without_preadv_is_one_clear_error():
    """Windows, for one: the import says what is needed, before anything else could fail."""
    code = "import os; del os.preadv; import initreg"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: initreg needs a POSIX system with preadv(2): Linux, or macOS 11 or newer. "
        "On Windows, use the Windows Subsystem for Linux (WSL)"
    )


def test_the_public_names_are_typed():
    """The stub for type checkers imports each name from the module that has it, and no other."""
    stub = Path(initreg.__file__).with_suffix(".pyi")
    imports = [n for n in ast.parse(stub.read_text()).body if isinstance(n, ast.ImportFrom)]
    found = {alias.asname: (node.module, alias.name) for node in imports for alias in node.names}
    assert found == {name: (f"initreg.{initreg._HOME[name]}", name) for name in initreg.__all__}


def test_dir_lists_each_name_once():
    """Also after a name was used, when it is both a global and a public name."""
    _ = initreg.SmartInit
    names = dir(initreg)
    assert len(names) == len(set(names))
    assert set(initreg.__all__) <= set(names)
