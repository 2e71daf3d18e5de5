"""The ways in which an array can become a variable, where nothing says which of them is right.

Each is written as the steps of a rule file, so that a user who knows it only has to copy them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from initreg.bridge.conversions import Change
from initreg.bridge.lines import Reading
from initreg.rules.writing import toml_text, toml_value

Shape = tuple[int, ...]

_WINDOWS = {1: ("LENGTH",), 2: ("HEIGHT", "WIDTH"), 3: ("DEPTH", "HEIGHT", "WIDTH")}
_KINDS = {1: "a signal", 2: "an image", 3: "a volume"}
_ALONG_INPUTS = (
    *(("in", "out"), ("flattened", "out")),
    *(("flattened", "gates"), ("flattened", "gates_reset_first")),
)
_AS_IN_ONE = "both have these values in one order"
_FLATTENED = "it was {}, which the source flattens with its channels {}"
_MADE = "{} is made of it, which the source has with its channels {}"


def of_axes(variable: str, array: str, changes: Mapping[str, Change]) -> tuple[Reading, ...]:
    """A reading for each order in which the source may have the axes.

    Args:
        variable: the name of the variable.
        array: the name of the array.
        changes: how the array becomes the variable, by what is true then: ``"it is transposed"``.
    """
    return tuple(Reading(what, _steps(variable, array, each)) for what, each in changes.items())


def of_flattened(
    variable: str,
    array: str,
    wanted: Shape,
    change: Change,
    axes: tuple[str, ...],
    windows: Collection[int] = (),
    gates: tuple[str, str] | tuple[()] = (),
) -> tuple[Reading, ...]:
    """The readings of a weight along values that were flattened, or of which an image is made: both
    frameworks have them in one order, or each in its own. The shape of the image is not known, and
    is left to the user.

    Args:
        variable: the name of the variable.
        array: the name of the array.
        wanted: the shape of the variable.
        change: how the array becomes the variable if both have the values in one order.
        axes: what the axes of the variable stand for.
        windows: how many axes the windows of the convolutions of the model have. Those of images if
            it has none.
        gates: the orders of its gates in the source and in the target, () if it has none.
    """
    found = [Reading(_AS_IN_ONE, _steps(variable, array, change, "", gates))]
    for count in sorted(set(windows) & set(_KINDS)) or (2,):
        window, order = _WINDOWS[count], tuple(range(count))
        where, what = "first", _FLATTENED
        parts: tuple[str | int, ...]
        if axes == ("out", "in"):  # of PyTorch
            parts, moved = (*window, "CHANNELS", wanted[0]), (count + 1, count, *order)
            where = "last"
        elif axes in _ALONG_INPUTS:
            parts, moved = (wanted[1], "CHANNELS", *window), (*_up(order, 2), 1, 0)
        elif axes == ("in", "unflattened"):
            parts, moved = ("CHANNELS", *window, wanted[0]), (count + 1, *_up(order, 1), 0)
            what = _MADE
        elif axes in (("flattened",), ("unflattened",)):
            parts, moved = ("CHANNELS", *window), (*_up(order, 1), 0)
            what = _MADE if "unflattened" in axes else what
        else:  # of a class of somebody's own, which may multiply it in any way
            return ()
        text = f"[{', '.join(map(str, parts))}]"
        lines = _steps(variable, array, Change((), moved, wanted), text, gates)
        words = ("CHANNELS", *window)
        found.append(Reading(what.format(_KINDS[count], where), lines, words))
    return tuple(found)


def _up(order: Shape, by: int) -> Shape:
    return tuple(axis + by for axis in order)


def _steps(
    variable: str, array: str, change: Change, parts: str = "", gates: Sequence[str] = ()
) -> tuple[str, ...]:
    """The lines of the steps.

    Args:
        variable: the name of the variable.
        array: the name of the array.
        change: how it becomes the variable.
        parts: the shape that it gets before its axes are permuted, in words. "" if ``change`` has
            the shape.
        gates: the orders of its gates in the source and in the target.
    """
    return tuple(_lines(toml_text(variable), toml_text(array), change, parts, gates))


def _lines(
    variable: str, array: str, change: Change, parts: str, gates: Sequence[str]
) -> Iterator[str]:
    yield from ("[[step]]", "[step.rename]", f"{array} = {variable}")
    if parts or change.reshape:
        parts = parts or toml_value(list(change.reshape))
        yield from ("[step.reshape]", f"{variable} = {parts}")
    if change.permute or change.shape or gates:
        yield "[[step]]"
    if change.permute:
        yield from ("[step.permute]", f"{variable} = {toml_value(list(change.permute))}")
    if gates:
        order = {"axis": -1, "from": gates[0], "to": gates[1]}
        yield from ("[step.gates]", f"{variable} = {toml_value(order, bare=True)}")
    if change.shape:
        yield from ("[step.reshape]", f"{variable} = {toml_value(list(change.shape))}")
