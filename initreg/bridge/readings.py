"""The ways in which an array can become a variable, where nothing says which of them is right.

Each is written as the steps of a rule file, so that a user who knows it only has to copy them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from initreg.bridge.conversions import Change
from initreg.bridge.lines import Reading
from initreg.rules.writing import toml_text, toml_value

Shape = tuple[int, ...]

_WORDS = ("CHANNELS", "HEIGHT", "WIDTH")
_AS_IN_ONE = "both have these values in one order"
_CHANNELS_FIRST = "it was an image, which the source flattens with its channels first"
_MADE_FIRST = "an image is made of it, which the source has with its channels first"
_CHANNELS_LAST = "it was an image, which the source flattens with its channels last"


def of_axes(variable: str, array: str, changes: Mapping[str, Change]) -> tuple[Reading, ...]:
    """A reading for each order in which the source may have the axes.

    Args:
        variable: the name of the variable.
        array: the name of the array.
        changes: how the array becomes the variable, by what is true then: ``"it is transposed"``.
    """
    return tuple(Reading(what, _steps(variable, array, each)) for what, each in changes.items())


def of_flattened(
    variable: str, array: str, wanted: Shape, change: Change, axes: tuple[str, ...]
) -> tuple[Reading, ...]:
    """The readings of a weight along values that were flattened: both frameworks have them in one
    order, or each in its own. The shape of the image is not known, and is left to the user.

    Args:
        variable: the name of the variable.
        array: the name of the array.
        wanted: the shape of the variable.
        change: how the array becomes the variable if both have the values in one order.
        axes: what the axes of the variable stand for.
    """
    same = Reading(_AS_IN_ONE, _steps(variable, array, change))
    order: Shape
    if axes == ("out", "in"):  # of PyTorch
        parts, order = f"[HEIGHT, WIDTH, CHANNELS, {wanted[0]}]", (3, 2, 0, 1)
        what = _CHANNELS_LAST
    elif axes in (("flattened", "out"), ("in", "out")):
        parts, order = f"[{wanted[1]}, CHANNELS, HEIGHT, WIDTH]", (2, 3, 1, 0)
        what = _CHANNELS_FIRST
    elif axes == ("in", "unflattened"):
        parts, order = f"[CHANNELS, HEIGHT, WIDTH, {wanted[0]}]", (3, 1, 2, 0)
        what = _MADE_FIRST
    elif axes == ("unflattened",):
        parts, order, what = "[CHANNELS, HEIGHT, WIDTH]", (1, 2, 0), _MADE_FIRST
    elif axes == ("flattened",):
        parts, order, what = "[CHANNELS, HEIGHT, WIDTH]", (1, 2, 0), _CHANNELS_FIRST
    else:  # of a class of somebody's own, which may multiply it in any way
        return ()
    words = tuple(word for word in _WORDS if word in parts)
    return same, Reading(what, _steps(variable, array, Change((), order, wanted), parts), words)


def _steps(variable: str, array: str, change: Change, parts: str = "") -> tuple[str, ...]:
    """The lines of the steps.

    Args:
        variable: the name of the variable.
        array: the name of the array.
        change: how it becomes the variable.
        parts: the shape that it gets before its axes are permuted, in words. "" if ``change`` has
            the shape.
    """
    return tuple(_lines(toml_text(variable), toml_text(array), change, parts))


def _lines(variable: str, array: str, change: Change, parts: str) -> Iterator[str]:
    yield from ("[[step]]", "[step.rename]", f"{array} = {variable}")
    if parts or change.reshape:
        parts = parts or toml_value(list(change.reshape))
        yield from ("[step.reshape]", f"{variable} = {parts}")
    if change.permute or change.shape:
        yield "[[step]]"
    if change.permute:
        yield from ("[step.permute]", f"{variable} = {toml_value(list(change.permute))}")
    if change.shape:
        yield from ("[step.reshape]", f"{variable} = {toml_value(list(change.shape))}")
