"""What is found out of a variable: the array it is made of, or the question that is left."""

from __future__ import annotations

from dataclasses import dataclass

from initreg.bridge.conversions import Change


@dataclass(frozen=True, slots=True)
class MappedVariable:
    """One variable of the target, and what it is made of.

    Args:
        variable: the name of the variable.
        arrays: the names of the arrays in the source: one, or two that are put together.
        how: how two are put together: ``"sum"`` or ``"stack"``.
        gates: the orders of its gates in the source and in the target, () if it has none.
        axis: the axis along which the array is split, -1 if all of it is taken.
        part: which of the parts is taken.
        parts: how many parts there are.
        change: what is done to the axes.
        layer: the class of the layer, "" if it is not known.
        why: what says that this is the array.
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


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """Variables of which it is not known which arrays they are.

    Args:
        variables: the names of the variables.
        arrays: the names of the arrays that fit.
        why: why nothing decides.
    """

    variables: tuple[str, ...]
    arrays: tuple[str, ...]
    why: str


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
