"""The test of changed bytes: what it lets pass, and what it finds."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import hookimpl
from initreg.testing import check_damage
from initreg.testing.damaging import mutated


def npy() -> dict[str, bytes]:
    file = io.BytesIO()
    np.save(file, np.arange(3, dtype="f4"))
    return {"w.npy": file.getvalue()}


@contextmanager
def opening(change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Iterator[None]:
    """For a while, formats give what ``change`` makes of their arrays."""

    class Wrapper:
        @hookimpl(wrapper=True)
        def initreg_open(self, source, options):
            return change((yield))

    plugin = Wrapper()
    initreg.plugin_manager().register(plugin, name="changes")
    try:
        yield
    finally:
        initreg.plugin_manager().unregister(plugin)


class Lying:
    """An array that is listed with another shape than it has, or that cannot be made."""

    shape, dtype = (3,), "float32"

    def __init__(self, error: type[Exception] | None) -> None:
        self.error = error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.error:
            raise self.error
        return np.zeros(2, "f4")


def test_a_careful_format_passes(tmp_path: Path) -> None:
    """One error or right arrays; the files are as they were afterwards."""
    check_damage(tmp_path, npy(), "npy", inputs=60)
    assert (tmp_path / "w.npy").read_bytes() == npy()["w.npy"]
    check_damage(tmp_path / "in", {f"a/{k}": v for k, v in npy().items()}, "npy", inputs=60)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (Lying(None), r"w\.npy, changed input \d+: .*'w' was announced as \(3,\) float32"),
        (Lying(TypeError("bad")), r"changed input \d+: .*array 'w' cannot be read: TypeError: bad"),
    ],
)
def test_harm_is_found(tmp_path: Path, array: Lying, reason: str) -> None:
    """What initreg makes an error of for the format fails, with the number of the input."""
    with opening(lambda arrays: {"w": array}), pytest.raises(pytest.fail.Exception, match=reason):
        check_damage(tmp_path, npy(), "npy", inputs=60)


def test_a_format_that_raises_is_found(tmp_path: Path) -> None:
    """An IndexError while opening is not the format's own word."""
    with opening(lambda arrays: [][0]), pytest.raises(pytest.fail.Exception, match="changes"):
        check_damage(tmp_path, npy(), "npy", inputs=60)


def test_a_test_that_shows_nothing_fails(tmp_path: Path) -> None:
    """All inputs opened, or none."""
    with pytest.raises(pytest.fail.Exception, match="0 opened, so that the test shows nothing"):
        check_damage(tmp_path, {"w.npy": b"text"}, "npy", inputs=5)


def test_changes_are_made_of_the_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An input can be made again; the environment says how many there are."""
    data = bytes(range(50))
    assert mutated(data, Random(7)) == mutated(data, Random(7)) != data
    assert mutated(b"", Random(7)) == b""
    assert len({mutated(data, Random(n)) for n in range(100)}) > 90
    monkeypatch.setenv("INITREG_FUZZ", "3")
    with pytest.raises(pytest.fail.Exception, match="of 3 changed inputs"):
        check_damage(tmp_path, {"w.npy": b"text"}, "npy")
