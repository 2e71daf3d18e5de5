"""diff: what is different between the arrays of two sources, by name and by value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Unpack

from initreg.api.chain import Link, flatten, open_chain
from initreg.api.layer_diffs import ArrayDiff, LayerDiff, layer_diffs, layer_lines
from initreg.api.opening_options import SourceOptions, spelt_out, split
from initreg.api.progressing import Done, shown
from initreg.api.restoring import Restore
from initreg.api.smart_init import way_of
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.differences import Difference, compare
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.regions import Box
from initreg.arrays.saved import Progress
from initreg.arrays.streaming import at_hand
from initreg.errors import InitregError
from initreg.names import NO_PATTERNS
from initreg.option_spelling import either, join, option
from initreg.plan.rows import RESTORED, Kind, Policy, Row
from initreg.rules.keywords import Rules
from initreg.text.limits import checked_limit
from initreg.text.wording import names_text, plural, printable

if TYPE_CHECKING:
    from initreg.plan.plan import Plan

Watch = Callable[[Box, Any], None]
Compared = Callable[[LazyArray, LazyArray], Difference]

_MORE = either("they are in .arrays", "--all shows them all")
_PAIRS = RESTORED | {Kind.MISMATCHED, Kind.PASSED_OVER}  # of an array of A and one of B


@dataclass(frozen=True, slots=True)
class Diff:
    """The result of :func:`diff`.

    Args:
        a: what messages call the first source.
        b: what they call the second one.
        arrays: each array of B in its order, and then those that only A has.
        how: how the names were matched, or "" if they are the same.
    """

    a: str
    b: str
    arrays: tuple[ArrayDiff, ...]
    how: str = ""

    @property
    def is_same(self) -> bool:
        """Whether both have the same arrays, and no value is beyond the tolerance."""
        return all(each.is_same for each in self.arrays)

    def of(self, *kinds: str) -> list[ArrayDiff]:
        """The arrays of some kinds."""
        return [each for each in self.arrays if each.kind in kinds]

    def groups(self) -> list[tuple[str, list[ArrayDiff]]]:
        """The arrays by how they differ, in words. The largest differences come first."""
        found = [(what, self.of(kind)) for kind, what in _KINDS.items()]
        found[0][1].sort(key=lambda each: each.size, reverse=True)
        return [(what, arrays) for what, arrays in found if arrays]

    @property
    def summary(self) -> str:
        """How many arrays are how different, in a line."""
        total = plural(len(self.arrays), "array")
        counts = [f"{len(arrays):,} {what}" for what, arrays in self.groups()]
        if len(counts) == 1:
            return f"{total}: all {self.groups()[0][0]}"
        return f"{total}: {', '.join(counts)}" if counts else "there are no arrays"

    def to_dict(self) -> dict[str, Any]:
        """The result as plain dicts, lists and strings."""
        return {
            "a": self.a,
            "b": self.b,
            "is_same": self.is_same,
            "how": self.how or None,
            "arrays": [each.to_dict() for each in self.arrays],
        }

    def __str__(self) -> str:
        return self.to_text()

    def layers(self, depth: int | None = None) -> tuple[LayerDiff, ...]:
        """The arrays of each layer together, in the order of their first arrays.

        Args:
            depth: the layers are the arrays whose names have the same first ``depth`` parts. With
                None, they are those whose names differ in the last part only.
        """
        return layer_diffs(self.arrays, depth)

    def to_text(
        self,
        limit: int | None = 20,
        *,
        fold: bool = False,
        depth: int | None = None,
        width: int | None = None,
    ) -> str:
        """What is different, the largest differences first, in at most ``limit`` lines for each
        kind.

        Args:
            limit: the most lines, None for all.
            fold: a line for each layer that differs, in their order, instead of one for each array.
            depth: the same for :meth:`layers` of this depth.
            width: the columns of a terminal, which a table is to fit. None for any width.

        Raises:
            RuleError: the limit is not a number of lines.
        """
        limit = checked_limit(limit)
        lines = [f"A  {self.a}", f"B  {self.b}"]
        lines += [self.how] if self.how else []
        if fold or depth is not None:
            lines += layer_lines(self.layers(depth), limit, width)
            lines.append(self.summary)
            return join("\n", lines)
        for what, found in self.groups():
            if not found[0].is_same:
                lines.append(f"{plural(len(found), 'array')} {what}")
                entries = [(printable(each.name), each.note()) for each in found]
                lines += ["  " + line for line in names_text(entries, limit, more=_MORE)]
        close, equal = self.of("close"), self.of("equal")
        if close:
            worst = max(close, key=lambda each: each.size)
            assert worst.values is not None
            lines.append(
                f"{plural(len(close), 'array')} within the tolerance: {worst.values.text()}"
            )
        if equal:
            lines.append(f"{plural(len(equal), 'array')} equal, bit by bit")
        return join("\n", lines)

    def _repr_html_(self) -> str:
        """The result as HTML, which a notebook shows."""
        from initreg.text.markup import folding, names, notebook, text, verdict

        parts = [f"<p>A <code>{text(self.a)}</code><br>B <code>{text(self.b)}</code></p>"]
        parts += [f"<p>{text(self.how)}</p>"] if self.how else []
        for what, found in self.groups():
            body = names(((each.name, each.note()) for each in found), "they are in .arrays")
            title = f"{plural(len(found), 'array')} {what}"
            parts.append(folding(title, body, is_open=not found[0].is_same))
        return notebook(verdict(self.summary, is_bad=False), *parts)


# Each kind of ArrayDiff in words, in the order in which they are shown.
_KINDS = {
    "different": "different",
    "shape": "of another shape",
    "only in A": "only in A",
    "only in B": "only in B",
    "unreadable": "not compared",
    "close": "within the tolerance",
    "equal": "equal, bit by bit",
}


@spelt_out(SourceOptions)
def diff(
    a: Any,
    b: Any,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    by: str | None = None,
    progress: Progress | bool | None = None,
    **options: Unpack[SourceOptions],
) -> Diff:
    """Compare the arrays of two sources of any format: names, shapes, dtypes, and values.

    Names are matched as if A were restored into B, so that two formats may call their arrays
    differently. Arrays are read in pieces: in memory are a few MB of each source, or a whole array
    if it is packed as a whole.

    Args:
        a: the first source: anything that :class:`initreg.SmartInit` takes, such as a file or a
            model. A chain is one source, in which the last array of a name counts.
        b: the second source, which is not a chain.
        rtol: how much a value of A may differ from that of B, relative to that of B.
        atol: how much it may differ besides: as in ``numpy.isclose``.
        by: as for :class:`initreg.SmartInit`.
        progress: a function that is called with the bytes of B that are done, and with all bytes.
            True shows a bar on a terminal or in a notebook.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``native``,
            ``max_inflation``, ``storage_options`` and the rules, as for
            :class:`initreg.SmartInit`. They apply to both sources. For rules of its own, pass a
            source as a SmartInit.

    Returns:
        A :class:`Diff`.

    Raises:
        InitregError: what :func:`initreg.open` raises.
        AmbiguousNames: the names can be matched in several ways.

    >>> initreg.diff("base.npz", "tuned.safetensors").is_same  # doctest: +SKIP
    """
    return compare_sources(a, b, rtol, atol, by, options, progress=progress)


def compare_sources(
    a: Any,
    b: Any,
    rtol: float,
    atol: float,
    by: str | None,
    options: Any,
    watching: Callable[[str, LazyArray], Watch | None] = lambda name, array: None,
    progress: Progress | bool | None = None,
) -> Diff:
    """What :func:`diff` does.

    Args:
        a: the first source. This and the following are the arguments of :func:`diff`.
        b: the second source.
        rtol: the relative tolerance.
        atol: the absolute tolerance.
        by: by which of their names arrays are matched.
        options: those of opening and the rules.
        watching: for the name and the array of B, what is given the differences piece by piece.
        progress: as for :func:`diff`.
    """
    _check_tolerance(rtol, "rtol")
    _check_tolerance(atol, "atol")
    opening, rules = split(options, "diff")
    like = Link(None, opening, (Rules.of(**rules),))
    with ExitStack() as stack:
        links = [*flatten(a, like)]
        others = [*flatten(b, like)]
        if len(others) != 1 or not links:
            what = "the second source is a chain" if len(others) > 1 else "a source is empty"
            raise InitregError(
                f"diff compares two sources, and {what}. Merge it with convert first"
            )
        maps = open_chain(
            [*links, *others], stack
        )  # together, for rules that only one of them needs
        theirs = maps.pop()
        opened = [Link(each, on_unused=Policy.IGNORE, by=way_of(by)) for each in maps]
        restore = Restore(
            opened, a, theirs, stack, on_missing=Policy.IGNORE, expect_missing=NO_PATTERNS
        )

        def compared(mine: LazyArray, other: LazyArray) -> Difference:
            return compare(mine, other, rtol, atol, watching(other.name, other))

        with shown(progress) as report:
            found = tuple(_compared(restore, theirs, compared, report))
        label = " + ".join(each.label for each in maps)
        return Diff(label, theirs.label, found, _how(restore.plan))


def _check_tolerance(value: float, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not value >= 0:
        raise InitregError(option(name, value) + ": give a number that is not negative")


def _how(plan: Plan) -> str:
    """How the names were matched, if they are not simply equal."""
    return "; ".join(dict.fromkeys(str(way) for way in plan.ways if str(way)))


def _compared(
    restore: Restore, theirs: ArrayMap, compared: Compared, report: Progress | None
) -> Iterator[ArrayDiff]:
    """The result for each array of B, and then for those that only A has."""
    left: list[Row] = []
    rows: list[Row] = []
    for row in restore.plan:
        # Axes of length 1, which a restore adds or removes, are a difference. A dtype that is not
        # restored into another one can still be compared with it.
        if row.kind in _PAIRS:
            rows.append(row)
        elif row.kind is not Kind.OVERRIDDEN and row.kind is not Kind.DROPPED:
            left.append(row)
    pairs = [row for row in rows if row.array_shape == row.shape]
    both = (at_hand([restore.array_of(r) for r in pairs]), at_hand([theirs[r.name] for r in pairs]))
    done = Done(report, (theirs[row.name] for row in pairs))
    for row in rows:
        if row.array_shape == row.shape:
            mine, other = (next(each) for each in both)
            yield _of_pair(mine, other, row, compared)
            done.add(other)
        else:
            yield ArrayDiff(row.name, "shape", _other(row), _shapes(row), _dtypes(row))
    for row in left:
        kind = "only in B" if row.in_target else "only in A"
        yield ArrayDiff(row.name, kind, "", _shapes(row), _dtypes(row))


def _of_pair(mine: LazyArray, theirs: LazyArray, row: Row, compared: Compared) -> ArrayDiff:
    shapes, dtypes = (mine.shape, theirs.shape), (mine.spec.dtype, theirs.spec.dtype)
    if mine.spec.opaque is not None and dtypes[0] == dtypes[1]:
        mine, theirs = mine.as_bytes(), theirs.as_bytes()
    why = mine.spec.unreadable or theirs.spec.unreadable
    if why:
        return ArrayDiff(row.name, "unreadable", _other(row), shapes, dtypes, why=str(why))
    values = compared(mine, theirs)
    kind = "equal" if values.is_equal else "different" if values.beyond else "close"
    return ArrayDiff(row.name, kind, _other(row), shapes, dtypes, values)


def _other(row: Row) -> str:
    return row.array if row.array is not None and row.array != row.name else ""


def _shapes(row: Row) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    theirs: Sequence[int | None] | None = row.shape if row.in_target else None
    return row.array_shape, None if theirs is None else tuple(axis or 0 for axis in theirs)


def _dtypes(row: Row) -> tuple[str | None, str | None]:
    return row.array_dtype, row.dtype
