"""What is found out of a variable: the array it is made of, or the question that is left."""

from __future__ import annotations

from dataclasses import dataclass

from initreg.bridge.conversions import Change


@dataclass(frozen=True, slots=True)
class MappedVariable:
    """One variable of the target, and what it is made of.

    Args:
        variable: the name of the variable.
        arrays: the names of the arrays in the source: one, or several that are put together.
        how: how several are put together: ``"sum"``, ``"stack"`` or ``"concat"``.
        gates: the orders of its gates in the source and in the target, () if it has none.
        axis: the axis along which the array is split, -1 if all of it is taken.
        part: which of the parts is taken.
        parts: how many parts there are.
        change: what is done to the axes.
        layer: the class of the layer, "" if it is not known.
        why: what says that this is the array.
        along: the axis along which several are put together.
        heads: the shape that the array gets before it is split, () for its own.
        sizes: the lengths of the parts, () if they are equal.
    """

    variable: str
    arrays: tuple[str, ...]
    how: str
    gates: tuple[str, ...]
    axis: int
    part: int
    parts: int
    change: Change
    layer: str
    why: str
    along: int = 0
    heads: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One way in which an array may become a variable.

    Args:
        what: what is true then, such as ``"it is transposed"``.
        lines: the lines of a rule file that do it.
        words: what stands for numbers in them that the user has to know: ``("CHANNELS", ...)``.
    """

    what: str
    lines: tuple[str, ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """Variables of which it is not known which arrays they are, or how these become them.

    Args:
        variables: the names of the variables.
        arrays: the names of the arrays that fit.
        why: why nothing decides.
        readings: if there is one variable and one array: the ways in which it may become it.
    """

    variables: tuple[str, ...]
    arrays: tuple[str, ...]
    why: str
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class LongerTable:
    """A variable without an array, and an array that no variable takes, which is as wide and has
    more rows: such as a table of positions with rows for padding.

    Args:
        variable: the name of the variable.
        shape: its shape.
        array: the name of the array.
        array_shape: its shape.
    """

    variable: str
    shape: tuple[int, ...]
    array: str
    array_shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FusedArray:
    """An array that no variable takes, and that holds a query, a key and a value by its name. It is
    not known of which sizes, or in which order.

    Args:
        array: the name of the array, or a glob for those of all layers.
        shape: its shape, or that of the last one.
        count: how many arrays these are.
        in_a_row: the lines of a rule file that take it apart if it has one after the other.
        by_head: the same if it has those of each head in turn.
    """

    array: str
    shape: tuple[int, ...]
    count: int
    in_a_row: tuple[str, ...]
    by_head: tuple[str, ...]
