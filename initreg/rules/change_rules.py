"""Rules that change the values of arrays: transpose, permute, slice, pad, cast.

Which arrays are meant is decided here, and what happens to their values in
:mod:`initreg.rules.changes`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from initreg import dtypes
from initreg.errors import RuleError
from initreg.names import Patterns
from initreg.option_spelling import either, said
from initreg.option_spelling import option as option_text
from initreg.rules.changes import Cast, Change, Pad, Permute, Slice
from initreg.rules.rule import Entry, Outcome, Rule


class ChangeByGlob:
    """A change for each glob. If two globs match an array, the later one is used."""

    def __init__(
        self, option: str, changes: Mapping[str, Change], clause: Callable[[str], str]
    ) -> None:
        self._patterns = Patterns(changes, option)
        self._changes = changes
        self._clause = clause
        self.clauses = [clause(glob) for glob in changes]

    def apply(self, outcome: Outcome) -> None:
        for i, entry in enumerate(outcome.entries):
            hits = self._patterns.hits(entry.spec.name, *entry.spec.aliases)
            if hits:
                outcome.touched.update(map(self._clause, hits))
                outcome.entries[i] = _changed(
                    entry, self._changes[hits[-1]], self._clause(hits[-1])
                )


def _changed(entry: Entry, change: Change, clause: str) -> Entry:
    spec = entry.spec
    try:
        shape, dtype = change.announce(spec.shape, spec.dtype)
    except ValueError as error:
        raise RuleError(clause + f": array {spec.name!r}: " + said(error)) from error
    text = change.text(spec.shape, spec.dtype)
    if not text:
        return entry
    spec = replace(spec, shape=shape, dtype=dtype, changes=(*spec.changes, text))
    return replace(entry, spec=spec, changes=(*entry.changes, change))


def change_by_glob(option: str, given: Any) -> Rule:
    make, usage = _MAKERS[option]
    if not isinstance(given, Mapping):
        raise RuleError(f"{option}={given!r}: give a dict that says what to do for each glob")

    def clause(glob: str) -> str:
        return option_text(option, {glob: given[glob]})

    changes: dict[str, Change] = {}
    for glob, value in given.items():
        if not isinstance(glob, str):
            raise RuleError(clause(glob) + f": {glob!r} is not a name or a glob")
        try:
            changes[glob] = make(*value)
        except (TypeError, ValueError) as error:
            raise RuleError(clause(glob) + ": give " + usage) from error
    return ChangeByGlob(option, changes, clause)


def _permute(*axes: int) -> Change:
    return Permute(tuple(map(operator.index, axes)))


def _slice(axis: int, start: int, stop: int | None) -> Change:
    end = None if stop is None else operator.index(stop)
    return Slice(operator.index(axis), operator.index(start), end)


def _pad(axis: int, length: int, fill: Any = 0) -> Change:
    if isinstance(fill, str) != (fill == "mean"):
        raise TypeError
    if fill != "mean":
        complex(fill)
    return Pad(operator.index(axis), operator.index(length), fill)


# The function that makes a change from the value of a glob, and the value that it takes, in words.
_MAKERS: dict[str, tuple[Callable[..., Change], str]] = {
    "permute": (
        _permute,
        either(
            "the axes in their new order, as in (2, 3, 1, 0)",
            "the axes in their new order, as in --permute 'conv*=2,3,1,0'",
        ),
    ),
    "slice": (
        _slice,
        either(
            "(axis, start, stop), where a stop of None is the end of the axis",
            "AXIS,START,STOP, where an empty STOP is the end of the axis",
        ),
    ),
    "pad": (
        _pad,
        either(
            "(axis, length) or (axis, length, fill), where fill is a number or 'mean'",
            "AXIS,LENGTH or AXIS,LENGTH,FILL, where FILL is a number or mean",
        ),
    ),
}


class _CastFloats:
    """cast="float16". It applies to all floats, and not to integers such as step counters."""

    def __init__(self, dtype: str, clause: str) -> None:
        self._change = Cast(dtype)
        self.clauses = [clause]

    def apply(self, outcome: Outcome) -> None:
        for i, entry in enumerate(outcome.entries):
            if dtypes.is_float(entry.spec.dtype):
                outcome.touched.add(self.clauses[0])
                outcome.entries[i] = _changed(entry, self._change, self.clauses[0])


def cast_rule(given: str | Mapping[str, str]) -> Rule:
    if isinstance(given, str):
        return _CastFloats(given, option_text("cast", given))

    def clause(glob: str) -> str:
        return option_text("cast", {glob: given[glob]})

    return ChangeByGlob("cast", {glob: Cast(dtype) for glob, dtype in given.items()}, clause)


def dtype_names(given: Any) -> str | dict[str, str]:
    """The value of ``cast=`` with its dtypes as names. Raises RuleError."""
    if isinstance(given, Mapping):
        for glob, dtype in given.items():
            if not isinstance(glob, str):
                clause = option_text("cast", {glob: dtype})
                raise RuleError(clause + f": {glob!r} is not a name or a glob")
        return {
            glob: _dtype(dtype, option_text("cast", {glob: dtype})) for glob, dtype in given.items()
        }
    return _dtype(given, option_text("cast", given))


def _dtype(given: Any, clause: str) -> str:
    """The name of a dtype that is given as a name, or as a dtype of numpy or TensorFlow."""
    name = given if isinstance(given, str) else getattr(given, "name", None)
    if isinstance(given, type):
        name = given.__name__
    try:
        return dtypes.name_of(dtypes.to_numpy(str(name)))
    except TypeError as error:
        raise RuleError(
            clause + f": {given!r} is not a dtype. Give a name such as 'float32'"
        ) from error
