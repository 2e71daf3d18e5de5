"""Variables of an object as the arrays of a source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from initreg import ArrayMap, TargetError, VariableSpec
from initreg.arrays.reader import Reader
from initreg.arrays.streaming import TOGETHER, at_hand, stream
from initreg.format_tools.living import LivingArray, LivingArrays


class Session:
    """Values that are read together. ``runs`` has the names of each run."""

    def __init__(self, values: dict[str, Any], broken: str = "") -> None:
        self.values, self.broken = values, broken
        self.runs: list[list[str]] = []

    def read(self, values: Sequence[LivingArray]) -> list[Any]:
        names = [each.of for each in values]
        self.runs.append(names)
        if self.broken in names:
            raise TargetError(f"{self.broken} has no value")
        return [self.values[name].copy() for name in names]

    def opened(self) -> ArrayMap:
        found = []
        for name, value in self.values.items():
            spec = VariableSpec(name, value.shape, value.dtype.name)

            def read(box: Any, name: str = name) -> Any:
                self.runs.append([name])
                if name == self.broken:
                    raise TargetError(f"{name} has no value")
                return self.values[name][... if box is None else box].copy()

            found.append((name, LivingArray(spec, value.shape, read, None, self, name)))
        living = LivingArrays("session", found, training=["b"])
        return ArrayMap(living, label="session", format="x", reader=Reader("session"))


def test_values_that_are_read_together() -> None:
    """Those that come one after the other are read in one run, of at most TOGETHER bytes."""
    half = np.ones(TOGETHER // 2 // 4, "f4")
    session = Session({"a": half, "b": half, "c": half, "d": np.arange(3), "e": np.arange(4)})
    opened = session.opened()
    found = dict(stream(list(opened.values())))
    assert session.runs == [["a", "b"], ["c", "d", "e"]]
    assert [found[i].tolist() for i in (3, 4)] == [[0, 1, 2], [0, 1, 2, 3]]
    session.runs.clear()
    ruled = opened.apply(drop="b", cast={"d": "float64"})
    at = {array.name: array.read() for array in at_hand(list(ruled.values()))}
    assert session.runs == [["a", "c"], ["d", "e"]]
    assert at["d"].dtype == np.float64
    assert opened.parameters == ("a", "c", "d", "e")


def test_one_that_fails_is_named_and_the_others_before_it_are_read() -> None:
    """Values of a run that fails are read one by one, up to the one that fails."""
    session = Session({name: np.arange(2) for name in "abc"}, broken="b")
    found = stream(list(session.opened().values()))
    assert next(found)[0] == 0
    with pytest.raises(TargetError, match="b has no value"):
        next(found)
    assert session.runs == [["a", "b", "c"], ["a"], ["b"]]


def test_a_part_is_read_as_a_part() -> None:
    """A slice of an array asks for its box, and the result is the caller's own."""
    given = np.arange(12).reshape(3, 4)
    boxes = []

    def read(box: Any) -> Any:
        boxes.append(box)
        return given.copy() if box is None else given[box].copy()

    spec = VariableSpec("w", (3, 4), "int64")
    living = LivingArrays("x", [("w", LivingArray(spec, (3, 4), read))])
    opened = ArrayMap(living, label="x", format="x", reader=Reader("x"))
    assert opened["w"][1:, 2].tolist() == [6, 10]
    assert boxes == [(slice(1, 3), slice(2, 3))]


def test_a_value_that_is_not_as_announced() -> None:
    """A variable whose shape changed since the source was opened is an error that shows both."""
    spec = VariableSpec("w", None, "int64")
    living = LivingArrays("x", [("w", LivingArray(spec, (2,), lambda box: np.arange(3)))])
    opened = ArrayMap(living, label="x", format="x", reader=Reader("x"))
    with pytest.raises(Exception, match=r"announced as \(2,\) int64, but reads as \(3,\) int64"):
        opened["w"].read()
