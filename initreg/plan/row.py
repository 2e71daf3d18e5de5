"""A row of a plan: one name, and what happens to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from initreg.records import record


class Kind(StrEnum):
    """What happens to the name of a row."""

    MATCHED = "matched"  # restored
    RESHAPED = "reshaped"  # restored: axes of length 1 are added or removed (it may also be cast)
    CAST = "cast"  # restored: cast to the dtype of the variable
    MISMATCHED = "mismatched"  # does not fit, so that the plan fails
    PASSED_OVER = "passed over"  # does not fit and is skipped, because of ignore_mismatch=True
    OVERRIDDEN = "overridden"  # a later source of the chain supplies the variable
    ONLY_IN_TARGET = "only in target"  # the variable is not restored
    ONLY_IN_SOURCE = "only in source"  # the array is not used
    NOT_NEEDED = "not needed"  # on one side only, as it may be: the reason says why
    KEPT = "kept"  # no source has it, and its old value may be wrong: the reason says why
    SLOT = "optimiser slot"  # on one side only, and its variable is restored
    STATE = "optimizer state"  # of an optimizer whose state is not restored
    DROPPED = "dropped"  # a rule or ignore= leaves the array out


RESTORED = frozenset({Kind.MATCHED, Kind.RESHAPED, Kind.CAST})


@record()
class Row:
    """One name of a plan. If one side does not have the name, the fields for that side are None.

    Args:
        kind: what happens to the name.
        name: the name of the variable, or that of the array if no variable has it.
        shape: the shape of the variable. It is None as well if the variable takes any shape, and
            an axis is None if it takes any length.
        dtype: the dtype of the variable, a name as in :mod:`initreg.dtypes`.
        source: which source has the array, an index into :attr:`Rows.sources`.
        array: the name of the array in its source. It differs from ``name`` if a rule renamed the
            array, or if it matched by an alias.
        array_shape: the shape of the array after the rules.
        array_dtype: the dtype of the array after the rules.
        by: for an overridden array, the index of the source that overrides it.
        reason: why the array does not fit, why none is needed, or which option the row is due to.
        changes: what rules do to the values, in words.
        expected: whether ``expect_missing``, ``expect_unused`` or ``ignore`` allow the name to be
            on one side only.
        called: what the source calls the array, if it was matched by its place although people
            gave it another name than the variable.
        doubt: why the axes of an array that fits may be in another order, "" if nothing says so.
        remedy: for a variable that is kept, what to do.
        made_of: the names in the source of all arrays that it is made of, if rules took arrays
            apart or put them together. ``array`` is then a text that says which parts they are.
        parts: for a variable that is written in parts, the start and the shape of each box.
    """

    kind: Kind
    name: str
    shape: tuple[int | None, ...] | None = None
    dtype: str | None = None
    source: int | None = None
    array: str | None = None
    array_shape: tuple[int, ...] | None = None
    array_dtype: str | None = None
    by: int | None = None
    reason: str = ""
    changes: tuple[str, ...] = ()
    expected: bool = False
    called: str = ""
    doubt: str = ""
    remedy: str = ""
    made_of: tuple[str, ...] = ()
    parts: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()

    @property
    def in_target(self) -> bool:
        """Whether the target has a variable of this name."""
        return self.dtype is not None

    @property
    def is_cast(self) -> bool:
        """Whether the array is restored with another dtype than it has."""
        return self.kind in RESTORED and self.dtype != self.array_dtype

    @property
    def is_transpose(self) -> bool:
        """Whether the shape does not fit, but would fit if the two axes changed places."""
        have, want = self.array_shape, self.shape
        if have is None or want is None or len(have) != 2:
            return False
        return have != want and have[::-1] == want

    def to_dict(self) -> dict[str, Any]:
        """The row as plain dicts, lists and strings."""
        return {
            "kind": self.kind.value,
            "name": self.name,
            "shape": None if self.shape is None else list(self.shape),
            "dtype": self.dtype,
            "source": self.source,
            "array": self.array,
            "array_shape": None if self.array_shape is None else list(self.array_shape),
            "array_dtype": self.array_dtype,
            "by": self.by,
            "reason": self.reason,
            "changes": list(self.changes),
            "expected": self.expected,
            "called": self.called,
            "doubt": self.doubt,
            "remedy": self.remedy,
            "made_of": list(self.made_of),
            "parts": [[list(at), list(shape)] for at, shape in self.parts],
        }
