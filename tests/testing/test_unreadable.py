"""The kit's tests of unreadable arrays fail where they should, and say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import hookimpl
from initreg.testing import FormatContract, Sample

W = np.arange(3, dtype=np.float32)


class Npz(FormatContract):
    format = "npz"

    def __init__(self, unreadable: list[str]) -> None:
        self._names = unreadable

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        np.savez(folder / "m.npz", a=W, odd=np.array([{}], object))
        yield Sample(folder / "m.npz", {"a": W}, unreadable=self._names)


TESTS = [name for name in dir(Npz) if "unreadable_array" in name or "the_other_arrays" in name]
fails = pytest.fail.Exception


def run(kit: FormatContract, folder: Path, test: str) -> None:
    """One test of the kit, as pytest runs it."""
    getattr(kit, test)(list(kit.unreadable(folder)))


@pytest.mark.parametrize("test", TESTS)
def test_a_right_format_passes(test: str, tmp_path: Path) -> None:
    """All three tests pass for npz."""
    assert len(TESTS) == 3
    run(Npz(["odd"]), tmp_path, test)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["odd", "gone"], r"\['a', 'odd'\] are listed, but expected are \['a', 'gone', 'odd'\]"),
        (["odd", "a"], r"\['odd'\] are listed as unreadable, but expected are \['a', 'odd'\]"),
    ],
)
def test_what_is_not_listed(names: list[str], says: str, tmp_path: Path) -> None:
    """An array that is missing from the list, or that is not marked, fails with both lists."""
    with pytest.raises(fails, match=says):
        run(Npz(names), tmp_path, "test_unreadable_arrays_are_listed")


def test_what_can_be_read(tmp_path: Path) -> None:
    """An array that should be unreadable, and is not."""
    with pytest.raises(fails, match="'a' should be unreadable, and was read without an error"):
        run(Npz(["a"]), tmp_path, "test_restoring_an_unreadable_array_is_one_error")


class Nameless:
    """A wrapper after which reading the array raises something else."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @hookimpl(wrapper=True)
    def initreg_open(self, source, options):  # type: ignore[no-untyped-def]
        found = yield
        if "odd" in found:
            found["odd"] = Value(self.error)
        return found


class Value:
    shape = (1,)
    dtype = np.dtype(object)
    unreadable = "nobody knows why"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, dtype: object = None, copy: object = None) -> None:
        raise self.error


def test_an_error_that_does_not_name_the_file(tmp_path: Path) -> None:
    """It must have the names of both, so that a user of a chain of ten files knows which."""
    wrapper = Nameless(initreg.InitregError("cannot be read"))
    initreg.plugin_manager().register(wrapper)
    try:
        run(Npz(["odd"]), tmp_path, "test_the_other_arrays_load")
        with pytest.raises(fails, match=r"m\.npz: the error for 'odd' must name both"):
            run(Npz(["odd"]), tmp_path, "test_restoring_an_unreadable_array_is_one_error")
    finally:
        initreg.plugin_manager().unregister(wrapper)


def test_a_format_without_any(tmp_path: Path) -> None:
    """The report says that there are no such samples."""

    class TestNothing(FormatContract):
        format = "npz"

    assert list(TestNothing().unreadable(tmp_path)) == []
