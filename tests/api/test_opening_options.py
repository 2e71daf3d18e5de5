"""initreg.api.opening_options: the options that every verb shares, spelt once."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.api.opening_options import OpeningOptions, ReadingOptions, SourceOptions, opening_of

SHARED = [
    (initreg.SmartInit, SourceOptions),
    (initreg.open, SourceOptions),
    (initreg.load, SourceOptions),
    (initreg.convert, SourceOptions),
    (initreg.dump, ReadingOptions),
    (initreg.verify, OpeningOptions),
]


def called(function, source, tmp_path: Path, **options):
    """Call one of the verbs on a source."""
    more = [tmp_path / "out.npz"] if function in (initreg.convert, initreg.dump) else []
    if function is initreg.dump:
        options.setdefault("inference", True)
    return function(source, *more, **options)


@pytest.mark.parametrize(("function", "allowed"), SHARED)
def test_the_signature_shows_every_option_with_its_default(function, allowed):
    """What help() shows is what OpenOptions and the rules say."""
    parameters = inspect.signature(function).parameters
    for name in allowed.__annotations__:
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    defaults = initreg.OpenOptions()
    for name in set(ReadingOptions.__annotations__) & set(parameters) - {
        "format",
        "storage_options",
    }:
        assert parameters[name].default == getattr(defaults, name)
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@pytest.mark.parametrize(("function", "allowed"), SHARED)
def test_a_misspelt_option_is_a_type_error_of_the_function(function, allowed, base, tmp_path):
    """As for any Python function; nothing is written."""
    with pytest.raises(TypeError, match=rf"^{function.__name__}\(\) got an .* 'max_infltion'"):
        called(function, base, tmp_path, max_infltion=3)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("options", [{"verify": False}, {"mmap": True}, {"drop": "w"}])
def test_verify_takes_no_option_that_would_leave_something_unchecked(options, base):
    """It reads every byte of every array, and compares all checksums."""
    with pytest.raises(TypeError, match="got an unexpected keyword"):
        initreg.verify(base, **options)


@pytest.mark.parametrize(("function", "allowed"), SHARED)
@pytest.mark.parametrize("wrong", ["x", None, 0, -1, float("nan"), True, [2]])
def test_max_inflation_is_a_positive_number(function, allowed, wrong, base, tmp_path):
    """Anything else is one InitregError that shows it, before anything is opened."""
    with pytest.raises(initreg.InitregError, match=r"^max_inflation=.*: give a number"):
        called(function, base, tmp_path, max_inflation=wrong)


@pytest.mark.parametrize(("function", "allowed"), SHARED[1:])
def test_max_inflation_reaches_the_reader(function, allowed, tmp_path):
    """Zeros that are packed 1,000 times are refused with 10, and opened with 10,000."""
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, w=np.zeros(80 << 20, "u1"))
    if function is initreg.verify:  # what is wrong with the file is in its answer
        (problem,) = initreg.verify(path, max_inflation=10).problems
        assert "pass max_inflation=" in problem
        assert initreg.verify(path, max_inflation=10_000).ok
        return
    with pytest.raises(initreg.RefusedFile, match=r"pass max_inflation=\d+"):
        called(function, path, tmp_path, max_inflation=10)
    found = called(function, path, tmp_path, max_inflation=10_000)
    if function is initreg.open:
        found.close()


def test_max_inflation_reaches_the_reader_of_a_restore(tmp_path):
    """SmartInit opens when it plans; a plan with 10 is refused, one with 10,000 restores."""
    np.savez_compressed(tmp_path / "zeros.npz", w=np.zeros(80 << 20, "u1"))
    model = {"w": np.ones(80 << 20, "u1")}
    with pytest.raises(initreg.RefusedFile, match=r"pass max_inflation=\d+"):
        initreg.SmartInit(tmp_path / "zeros.npz", max_inflation=10).init(model)
    assert model["w"].all()
    initreg.SmartInit(tmp_path / "zeros.npz", max_inflation=10_000).init(model)
    assert not model["w"].any()


def test_typed_options_are_those_that_differ_from_the_default():
    """They are what the code of a hint repeats."""
    assert opening_of({}, "f").typed() == {}
    assert opening_of({"verify": True, "max_inflation": 1000}, "f").typed() == {}
    given = {"format": "npz", "allow_pickle": True, "verify": False, "mmap": True}
    assert opening_of(given, "f").typed() == given


@pytest.mark.parametrize("name", ["verify", "mmap", "allow_pickle"])
@pytest.mark.parametrize("wrong", ["false", "yes", None, 1, 0, [], ...])
def test_a_switch_is_true_or_false(name, wrong, base):
    """A string is not taken for yes: allow_pickle="false" would run the code of a pickle."""
    with pytest.raises(initreg.InitregError, match=rf"^{name}=.*: give True or False"):
        initreg.load(base, **{name: wrong})


def test_a_string_opens_no_pickle(tmp_path):
    """Nothing in the file is run."""
    np.save(tmp_path / "p.npy", np.array({"a": np.ones(2)}, object), allow_pickle=True)
    with pytest.raises(initreg.InitregError, match="allow_pickle='false': give True or False"):
        initreg.load(tmp_path / "p.npy", allow_pickle="false")


def test_switches_and_numbers_of_numpy(base):
    """numpy's are those of Python."""
    found = initreg.load(base, verify=np.bool_(False), max_inflation=np.int64(3))
    assert sorted(found) == ["b", "w"]


@pytest.mark.parametrize("name", ["compress", "manifest"])
def test_switches_of_saving(name, base, tmp_path):
    """They are refused before anything is written."""
    with pytest.raises(initreg.InitregError, match=f"{name}='yes': give True or False"):
        initreg.convert(base, tmp_path / "out.npz", **{name: "yes"})
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("name", ["atomic", "ignore_mismatch"])
def test_switches_of_a_restore(name, base):
    """They are refused when SmartInit is made."""
    with pytest.raises(initreg.InitregError, match=f"{name}='x': give True or False"):
        initreg.SmartInit(base, **{name: "x"})


def test_verify_with_a_format_that_does_not_exist(base):
    """The question is wrong, which is no answer about the file."""
    with pytest.raises(initreg.UnknownFormat, match="no format is called 'foo'"):
        initreg.verify(base, format="foo")
    with pytest.raises(initreg.InitregError, match="finite='x': give True or False"):
        initreg.verify(base, finite="x")
