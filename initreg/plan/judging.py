"""Whether an array fits a variable, by their specs."""

from __future__ import annotations

from initreg import dtypes
from initreg.names import normalise
from initreg.plan.axes import hidden_order, squeeze
from initreg.plan.row import Kind
from initreg.specs import ArraySpec, VariableSpec

_MATCHED = Kind.MATCHED, ""


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    if wanted is None or shape == wanted:
        return True
    return len(shape) == len(wanted) and all(
        b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )


def judge(array: ArraySpec, variable: VariableSpec) -> tuple[Kind, str]:
    """Whether an array fits a variable, and how.

    The shapes must be equal, or differ only by axes of length 1. If such an array also fits with
    its axes in the order of the other framework, and its values would be in other places then, it
    does not fit, because nothing says which is meant. A rule that puts the axes in order does.
    The dtypes must be equal, or both be floats, or both be integers, with that of the variable
    being the wider one.

    Returns:
        MATCHED, RESHAPED, CAST or MISMATCHED, and for MISMATCHED the reason in words. An array that
        cannot be read is MISMATCHED.
    """
    if array.unreadable:
        return Kind.MISMATCHED, "it cannot be read: " + array.unreadable
    shape, wanted = array.shape, variable.shape
    if shape == wanted and array.dtype == variable.dtype:  # most of them
        return _MATCHED
    same = _fits(shape, wanted)
    squeezable = not same and squeeze(shape) == squeeze(wanted or ())
    reasons = []
    if not same and not squeezable:
        reasons.append(f"shape {shape} does not fit {wanted}")
    elif squeezable:
        hidden = _hidden(array, variable)
        reasons += [f"shape {shape} fits {wanted} in two ways: {hidden}"] if hidden else []
    if array.dtype != variable.dtype and not dtypes.can_cast(array.dtype, variable.dtype):
        note = dtypes.note_on_cast(array.dtype, variable.dtype)
        reasons.append(f"dtype {array.dtype} is not cast to {variable.dtype}{note}")
    if reasons:
        return Kind.MISMATCHED, " and ".join(reasons)
    if squeezable:
        return Kind.RESHAPED, ""
    if array.dtype != variable.dtype:
        return Kind.CAST, ""
    return Kind.MATCHED, ""


def _hidden(array: ArraySpec, variable: VariableSpec) -> str:
    """The two ways in which an array fits by axes of length 1, "" if there is only one."""
    found = None
    if array.axes is None:
        shape, wanted = array.shape, variable.shape or ()
        found = hidden_order(shape, wanted, normalise(variable.name), array.origin)
    if found is None:
        return ""
    framework, axes = found
    return f"reshaped, or with the axes in the order {axes}, as if from {framework}"


def is_fit(array: ArraySpec, variable: VariableSpec) -> bool:
    """Whether an array fits a variable, as :func:`judge` says."""
    return judge(array, variable)[0] is not Kind.MISMATCHED
