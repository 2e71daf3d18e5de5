"""The differences of arrays, one by one and of each layer together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from initreg.arrays.differences import Difference, all_together
from initreg.errors import InitregError
from initreg.option_spelling import either, option
from initreg.text.tables import lay_out
from initreg.text.wording import names_text, plural, printable, shape_text

_MORE = either("they are in .layers()", "--all shows them all")
_HEAD = ("LAYER", "ARRAYS", "DIFFERENT", "LARGEST", "MEAN", "MOVED", "COSINE", "")


@dataclass(frozen=True, slots=True)
class ArrayDiff:
    """What is different between two arrays, or an array that only one source has.

    Args:
        name: the name in the second source, or in the only one that has it.
        kind: ``"equal"``: the bits are the same. ``"close"``: no value is beyond the tolerance.
            ``"different"``: some are. ``"shape"``: the shapes differ. ``"only in A"`` and
            ``"only in B"``. ``"unreadable"``: the values of one of them cannot be read.
        array: the name in the first source, if that is another one.
        shapes: the shape in A and in B. None where there is no such array.
        dtypes: the dtypes, names as in :mod:`initreg.dtypes`.
        values: how the values differ. None if they were not compared.
        why: why they could not be compared, or "".
    """

    name: str
    kind: str
    array: str = ""
    shapes: tuple[tuple[int, ...] | None, tuple[int, ...] | None] = (None, None)
    dtypes: tuple[str | None, str | None] = (None, None)
    values: Difference | None = None
    why: str = ""

    @property
    def is_same(self) -> bool:
        """Whether nothing is beyond the tolerance."""
        return self.kind in ("equal", "close")

    @property
    def size(self) -> float:
        """The largest absolute difference, by which arrays are sorted. It is infinite for NaN."""
        found = None if self.values is None else self.values.largest
        return float("inf") if found is not None and found != found else found or 0.0

    def note(self) -> str:
        """What there is to say about it, in words."""
        mine, theirs = (
            f"{shape_text(shape)} {dtype}" if dtype else ""
            for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        )
        if self.kind == "shape":
            return f"{mine} in A, {theirs} in B"
        if self.kind.startswith("only"):
            return mine or theirs
        if self.kind == "unreadable":
            return self.why
        what = (
            ""
            if self.dtypes[0] == self.dtypes[1]
            else f", {self.dtypes[0]} in A, {self.dtypes[1]} in B"
        )
        assert self.values is not None
        return self.values.text() + what

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and strings."""
        return {
            "name": self.name,
            "kind": self.kind,
            "array": self.array or self.name,
            "shapes": [None if shape is None else list(shape) for shape in self.shapes],
            "dtypes": list(self.dtypes),
            "values": None if self.values is None else self.values.to_dict(),
            "why": self.why or None,
        }


@dataclass(frozen=True, slots=True)
class LayerDiff:
    """What is different between the arrays of one layer.

    Args:
        name: the beginning of their names, or the name of the only one.
        arrays: the arrays.
        values: how their values differ, as if they were one array. None if none was compared.
    """

    name: str
    arrays: tuple[ArrayDiff, ...]
    values: Difference | None

    @property
    def is_same(self) -> bool:
        """Whether nothing is beyond the tolerance, and both sources have all arrays."""
        return all(each.is_same for each in self.arrays)

    @property
    def differing(self) -> int:
        """How many arrays are not the same."""
        return sum(not each.is_same for each in self.arrays)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and strings."""
        return {
            "name": self.name,
            "arrays": [each.name for each in self.arrays],
            "differing": self.differing,
            "is_same": self.is_same,
            "values": None if self.values is None else self.values.to_dict(),
        }

    def _note(self) -> str:
        """What else there is to say of it."""
        others = [
            f"{plural(count, 'array')} {text}"
            for kind, text in (
                ("shape", "of another shape"),
                ("only in A", "only in A"),
                ("only in B", "only in B"),
                ("unreadable", "not compared"),
            )
            if (count := sum(each.kind == kind for each in self.arrays))
        ]
        return ", ".join(others)


def layer_diffs(arrays: Iterable[ArrayDiff], depth: int | None) -> tuple[LayerDiff, ...]:
    """The arrays of each layer together. See :meth:`initreg.Diff.layers`.

    Raises:
        InitregError: the depth is not a number of at least 1.
    """
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise InitregError(option("depth", depth) + ": give a number of at least 1")
    found: dict[str, list[ArrayDiff]] = {}
    for each in arrays:
        found.setdefault(_layer_of(each.name, depth), []).append(each)
    return tuple(
        LayerDiff(
            few[0].name if len(few) == 1 else name,
            tuple(few),
            all_together(known) if (known := [e.values for e in few if e.values]) else None,
        )
        for name, few in found.items()
    )


def _layer_of(name: str, depth: int | None) -> str:
    """What the layer of an array is called. A dot separates parts, too, if no slash does."""
    slash = "/" if "/" in name or "." not in name else "."
    parts = name.split(slash)
    if depth is None:
        few = parts[:-1] or parts
        return slash.join(few[:-1] if few[-1] == "vars" and len(few) > 1 else few)
    return slash.join(parts[:depth])


def layer_lines(
    layers: Sequence[LayerDiff], limit: int | None, width: int | None = None
) -> list[str]:
    """A table of the layers that differ, in their order, and the names of those that do not.

    Args:
        layers: the layers.
        limit: the most lines, None for all.
        width: the columns of a terminal, None if lines may be of any length.
    """
    changed = [each for each in layers if not each.is_same]
    same = [each for each in layers if each.is_same]
    shown = changed if limit is None else changed[:limit]
    lines: list[str] = []
    if shown:
        rows = list(map(_row, shown))
        lines, _ = lay_out(_HEAD, rows, right=range(1, 7), width=width, spare=(4, 5))
    if len(shown) < len(changed):
        lines.append(f"and {plural(len(changed) - len(shown), 'more layer')}: " + _MORE)
    if same:
        names = names_text([(printable(each.name), "") for each in same], limit, more=_MORE)
        lines.append(f"{plural(len(same), 'layer')} without a difference")
        lines += ["  " + line for line in names]
    return lines


def _row(each: LayerDiff) -> tuple[str, ...]:
    counts = (f"{len(each.arrays):,}", f"{each.differing:,}")
    found = each.values
    if found is None or found.largest is None:
        return (printable(each.name), *counts, "", "", "", "", each._note())
    moved = "" if found.moved is None else f"{100 * found.moved:.3g}%"
    cosine = "" if found.cosine is None else f"{found.cosine:.6f}"
    figures = (f"{found.largest:.3g}", f"{found.mean:.3g}", moved, cosine)
    return (printable(each.name), *counts, *figures, each._note())
