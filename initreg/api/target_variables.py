"""The variables that a target lists: checked, and the boxes that they are written in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import attrgetter
from typing import cast

from initreg.arrays.describing import check_state, names_in
from initreg.arrays.regions import Box, cover_once, whole
from initreg.errors import InitregError, TargetError, is_fault
from initreg.plugin.target import Target
from initreg.specs import LayerSpec, VariableSpec
from initreg.text.wording import parts_text, shape_text

# The fields that are checked, and what most of a million variables have there.
_more_of = attrgetter("aliases", "places", "automatic", "not_needed_with", "state", "parts")
_NO_MORE = (), (), (), (), None, ()


def variables_of(target: Target) -> list[VariableSpec]:
    """The variables of a target. Raises TargetError if it cannot list them."""
    try:
        found = list(target.variables())
    except InitregError:
        raise
    except BaseException as error:
        if not is_fault(error):
            raise
        raise TargetError(
            f"{target.label}: cannot list its variables: {type(error).__name__}: {error}"
        ) from error
    for each in found:
        if not isinstance(each, VariableSpec):
            raise TargetError(f"{target.label}: lists {each!r}, which is not a VariableSpec")
        if _more_of(each) != _NO_MORE:
            _check(each, f"{target.label}: variable {each.name!r}")
    return found


def _check(variable: VariableSpec, what: str) -> None:
    """Raise PluginError or TargetError if a field has a value that it cannot have."""
    for field in ("aliases", "places", "automatic", "not_needed_with"):
        if (given := getattr(variable, field)) != ():
            names_in(given, f"{what}: VariableSpec.{field}")
    if variable.state is not None:
        check_state(variable.state, what)
    if variable.parts:
        _check_parts(variable, what)


def _check_parts(variable: VariableSpec, what: str) -> None:
    """Raise TargetError unless the parts cover the array exactly once, or lie in it without a
    common element if other processes write the rest of it."""
    shape = variable.shape
    if shape is None or None in shape:
        raise TargetError(f"{what}: it has parts, and its shape is not known: {shape_text(shape)}")
    sizes = tuple(axis or 0 for axis in shape)
    boxes = [(part.at, part.shape) for part in variable.parts]
    for at, size in boxes:
        if not len(at) == len(size) == len(sizes) or not all(
            0 <= a <= a + n <= axis for a, n, axis in zip(at, size, sizes, strict=True)
        ):
            raise TargetError(
                f"{what}: the part of shape {shape_text(size)} at {at} is not in the array, which "
                f"has the shape {shape_text(shape)}"
            )
    if variable.elsewhere:
        found = [Box(at, _ends(at, size), ()) for at, size in boxes]
        if any(each.intersection(other) for i, each in enumerate(found) for other in found[:i]):
            raise TargetError(f"{what}: two of its parts overlap: {parts_text(boxes)}")
    elif not cover_once(sizes, boxes):
        count = sum(math.prod(size) for _, size in boxes)
        raise TargetError(
            f"{what}: it is {parts_text(boxes)}, which do not cover the array of shape "
            f"{shape_text(shape)} exactly once: they have {count:,} of its {math.prod(sizes):,} "
            "elements"
        )


def _ends(at: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + n for a, n in zip(at, size, strict=True))


def shape_in(variable: VariableSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in a variable of an array that fits it, perhaps but for axes of length 1."""
    if variable.shape is None:
        return shape
    known = math.prod(axis for axis in variable.shape if axis is not None)
    if variable.shape.count(None) > 1 or not known:
        return shape
    rest = math.prod(shape) // known
    return tuple(rest if axis is None else axis for axis in variable.shape)


def boxes_of(variable: VariableSpec, shape: tuple[int, ...]) -> list[Box]:
    """The boxes that an array of this shape is written in. It is one without parts."""
    return [Box(part.at, _ends(part.at, part.shape), ()) for part in variable.parts] or [
        whole(shape)
    ]


def layers_of(target: Target) -> Mapping[str, LayerSpec]:
    """What each variable of a target is in its layer, as far as it is known."""
    found = getattr(target, "layers", None)
    if not callable(found):
        return {}
    try:
        return cast("Mapping[str, LayerSpec]", found())
    except BaseException as error:
        if not is_fault(error):
            raise
        return {}  # only a warning depends on it, which is then given
