"""Rules that change values: add, transpose, permute, reshape, gates, take, slice, pad, view, cast.

Which arrays are meant is decided here, and what happens to their values in
:mod:`initreg.rules.changes`.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from typing import Any

from initreg import dtypes
from initreg.errors import RuleError
from initreg.names import Patterns
from initreg.option_spelling import either, said
from initreg.option_spelling import option as option_text
from initreg.records import replace
from initreg.rules.adding import add
from initreg.rules.boxes import box, is_box
from initreg.rules.changes import Cast, Change, Pad, Permute, Reshape, Slice, View
from initreg.rules.gates import ORDERS, Gates, gates
from initreg.rules.rule import Entry, Outcome, Rule
from initreg.rules.taking import Take


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
    if spec.opaque is not None:
        raise RuleError(
            clause
            + f": array {spec.name!r} has the dtype {spec.dtype}, which numpy does not have. "
            "It can be renamed or dropped, and its values cannot be changed"
        )
    try:
        shape, dtype = change.announce(spec.shape, spec.dtype)
    except ValueError as error:
        raise RuleError(clause + f": array {spec.name!r}: " + said(error)) from error
    text = change.text(spec.shape, spec.dtype)
    if not text:
        return entry
    axes = spec.axes
    if isinstance(change, Permute):
        before = axes or tuple(range(len(spec.shape)))
        axes = tuple(before[axis] for axis in change.order(len(spec.shape)))
    if isinstance(change, Reshape) and axes is not None:
        axes = tuple(range(len(shape)))  # which is how the user wants them
    spec = replace(spec, shape=shape, dtype=dtype, changes=(*spec.changes, text), axes=axes)
    return replace(entry, spec=spec, changes=(*entry.changes, change))


def change_by_glob(option: str, given: Any) -> Rule:
    _, usage = _MAKERS[option]
    if not isinstance(given, Mapping):
        raise RuleError(f"{option}={given!r}: give a dict that says what to do for each glob")

    def clause(glob: str) -> str:
        return option_text(option, {glob: given[glob]})

    changes: dict[str, Change] = {}
    for glob, value in given.items():
        if not isinstance(glob, str):
            raise RuleError(clause(glob) + f": {glob!r} is not a name or a glob")
        try:
            changes[glob] = _made(option, value)
        except RuleError as error:
            raise RuleError(clause(glob) + ": " + said(error)) from error
        except (TypeError, ValueError, OverflowError) as error:
            raise RuleError(clause(glob) + ": give " + usage) from error
    return ChangeByGlob(option, changes, clause)


def change_of(option: str, value: Any) -> Change:
    """The change that the value of a glob asks for, which was checked before."""
    return _made(option, value)


def _made(option: str, value: Any) -> Change:
    if option == "slice" and is_box(value):
        return box(value)
    make, _ = _MAKERS[option]
    return make(value) if option == "add" else make(*value)


def _gates(axis: int, old: str, new: str) -> Gates:
    return gates(_index(axis), old, new)


def _permute(*axes: int) -> Change:
    return Permute(tuple(map(_index, axes)))


def _reshape(*shape: int) -> Change:
    return Reshape(tuple(map(_index, shape)))


def _take(axis: int, *how: Any) -> Change:
    if len(how) == 1:
        if isinstance(how[0], (str, os.PathLike)):
            raise TypeError
        return Take(_index(axis), list(map(_index, how[0])))
    old, new, fill = (*how, None) if len(how) == 2 else how
    _check_fill(0 if fill is None else fill)
    return Take(_index(axis), None, os.fspath(old), os.fspath(new), fill)


def _slice(axis: int, start: int, stop: int | None) -> Change:
    end = None if stop is None else _index(stop)
    return Slice(_index(axis), _index(start), end)


def _pad(axis: int, length: int, fill: Any = 0) -> Change:
    _check_fill(fill)
    return Pad(_index(axis), _index(length), fill)


def _check_fill(fill: Any) -> None:
    """Raise TypeError or ValueError if it is neither a number nor ``"mean"``."""
    if isinstance(fill, str) != (fill == "mean"):
        raise TypeError
    if fill != "mean":
        complex(fill)


def _index(number: int) -> int:
    """An axis or a length. Raises TypeError or ValueError for anything else."""
    index = operator.index(number)
    if not -_LARGEST <= index <= _LARGEST:
        raise ValueError("it is larger than the axes of any array")
    return index


_LARGEST = 1 << 256  # no axis is so long, and messages can write it

# The function that makes a change from the value of a glob, and the value that it takes, in words.
_NAMES = ", ".join(ORDERS)
_MAKERS: dict[str, tuple[Callable[..., Change], str]] = {
    "add": (add, either("a number", "a number, as in --add 'lstm/forget_bias=1'")),
    "gates": (
        _gates,
        either(
            "(axis, old, new), where old and new are orders of gates: letters, as in 'i f c o', or "
            f"one of {_NAMES}",
            "AXIS,OLD,NEW, where OLD and NEW are orders of gates: letters, as in ifco, or one of "
            + _NAMES,
        ),
    ),
    "permute": (
        _permute,
        either(
            "the axes in their new order, as in (2, 3, 1, 0)",
            "the axes in their new order, as in --permute 'conv*=2,3,1,0'",
        ),
    ),
    "reshape": (
        _reshape,
        either(
            "the shape, as in (768, 12, -1)",
            "the shape, as in --reshape 'query/kernel=768,12,-1'",
        ),
    ),
    "take": (
        _take,
        either(
            "(axis, indices), or (axis, old, new) or (axis, old, new, fill), where old and new are "
            "vocabulary files, and fill, for new tokens, is a number or 'mean'",
            "AXIS,INDEX,INDEX,..., or AXIS,OLD,NEW or AXIS,OLD,NEW,FILL, where OLD and NEW are "
            "vocabulary files, and FILL, for new tokens, is a number or mean",
        ),
    ),
    "slice": (
        _slice,
        either(
            "(axis, start, stop), where a stop of None is the end of the axis, or a slice for each "
            "axis, as in (slice(0, 2), slice(4, 8)) or '0:2, 4:8'",
            "AXIS,START,STOP, where an empty STOP is the end of the axis, or START:STOP,START:STOP "
            "for several axes",
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


class _ViewRaw:
    """view="bfloat16". It applies to all raw bytes."""

    def __init__(self, dtype: str, clause: str) -> None:
        self._change = View(dtype)
        self.clauses = [clause]

    def apply(self, outcome: Outcome) -> None:
        for i, entry in enumerate(outcome.entries):
            if dtypes.is_raw(entry.spec.dtype):
                outcome.touched.add(self.clauses[0])
                outcome.entries[i] = _changed(entry, self._change, self.clauses[0])


def view_rule(given: str | Mapping[str, str]) -> Rule:
    if isinstance(given, str):
        return _ViewRaw(given, option_text("view", given))

    def clause(glob: str) -> str:
        return option_text("view", {glob: given[glob]})

    return ChangeByGlob("view", {glob: View(dtype) for glob, dtype in given.items()}, clause)


def cast_rule(given: str | Mapping[str, str]) -> Rule:
    if isinstance(given, str):
        return _CastFloats(given, option_text("cast", given))

    def clause(glob: str) -> str:
        return option_text("cast", {glob: given[glob]})

    return ChangeByGlob("cast", {glob: Cast(dtype) for glob, dtype in given.items()}, clause)


def dtype_names(given: Any, name: str) -> str | dict[str, str]:
    """The value of ``cast=`` or ``view=`` with its dtypes as names. Raises RuleError.

    Args:
        given: a dtype, or a dtype for each glob.
        name: which of the two options it is.
    """
    if isinstance(given, Mapping):
        for glob, dtype in given.items():
            if not isinstance(glob, str):
                clause = option_text(name, {glob: dtype})
                raise RuleError(clause + f": {glob!r} is not a name or a glob")
        return {
            glob: _dtype(dtype, option_text(name, {glob: dtype})) for glob, dtype in given.items()
        }
    return _dtype(given, option_text(name, given))


def _dtype(given: Any, clause: str) -> str:
    """The name of a dtype that is given as a name, or as a dtype of numpy or TensorFlow."""
    name = given if isinstance(given, str) else getattr(given, "name", None)
    if isinstance(given, type):
        name = given.__name__
    if name in dtypes.QUANTISED or name == dtypes.STRING:
        return str(name)
    try:
        return dtypes.name_of(dtypes.to_numpy(str(name)))
    except (
        TypeError,
        ValueError,
        SyntaxError,
    ) as error:  # numpy evaluates what looks like '(2,)f4'
        raise RuleError(
            clause + f": {given!r} is not a dtype. Give a name such as 'float32'"
        ) from error
