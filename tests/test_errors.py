"""initreg.errors: one class per kind, all of them InitregError."""

import inspect

import pytest

import initreg
from initreg import errors

CLASSES = [
    c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__
]
ERRORS = [c for c in CLASSES if not issubclass(c, Warning)]
WARNINGS = [c for c in CLASSES if issubclass(c, Warning)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda c: c.__name__)
def test_every_error_is_an_initreg_error(kind):
    """'except InitregError' catches everything that initreg raises on purpose."""
    assert issubclass(kind, initreg.InitregError)


@pytest.mark.parametrize("kind", WARNINGS, ids=lambda c: c.__name__)
def test_every_warning_is_an_initreg_warning(kind):
    """One filter silences, or turns into errors, everything that initreg warns of."""
    assert issubclass(kind, initreg.InitregWarning)
    assert issubclass(kind, UserWarning)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_every_class_is_public_and_documented(kind):
    """What can be raised can be imported from initreg, and says what it is for."""
    assert getattr(initreg, kind.__name__) is kind
    assert kind.__doc__


def test_python_knows_some_of_them_too():
    """A missing file is a FileNotFoundError, a missing library an ImportError."""
    assert issubclass(errors.SourceNotFound, FileNotFoundError)
    assert issubclass(errors.UnreadableFile, OSError)
    assert issubclass(errors.MissingLibrary, ImportError)
    assert str(errors.SourceNotFound("x: no such file")) == "x: no such file"


def test_a_missing_library_ends_in_the_command_that_installs_it():
    """The message is the whole remedy."""
    error = errors.MissingLibrary("format 'h5'", "h5py", "pip install 'initreg[h5]'")
    assert str(error) == "format 'h5' needs h5py: pip install 'initreg[h5]'"
    assert (error.library, error.remedy) == ("h5py", "pip install 'initreg[h5]'")
