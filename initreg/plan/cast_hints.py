"""Hints for quantised integers and raw bytes, which are cast or viewed only if the user says so."""

from __future__ import annotations

from collections.abc import Sequence

from initreg import dtypes
from initreg.plan.judging import judge
from initreg.plan.rows import Hint, Kind, Row
from initreg.specs import ArraySpec, VariableSpec
from initreg.text.wording import plural


def casts(rows: Sequence[tuple[Row, str]], source: str = "source") -> list[Hint]:
    """Look for mismatched arrays that are the integers of a quantised dtype, or the other way
    round.

    Args:
        rows: all rows of one source, each with the name of its array after the rules.
        source: the code that names the source, for the hint.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for row, name in rows:
        have, want = row.array_dtype or "", row.dtype or ""
        if row.kind is Kind.MISMATCHED and dtypes.is_quantised_as(have, want):
            array = ArraySpec(name, row.array_shape or (), want)
            if judge(array, VariableSpec(row.name, row.shape, want))[0] is not Kind.MISMATCHED:
                found.setdefault((have, want), []).append(name)
    hints = _views(rows, source)
    for (have, want), names in found.items():
        if want in dtypes.QUANTISED:
            words = f"fit as {want}, if its scale is that of the {have} in the source"
        else:
            words = f"fit as {want}, which are the integers of {have} without its scale"
        options = {"cast": dict.fromkeys(names, want)}
        hints.append(Hint(f"{plural(len(names), 'array')} would {words}", options, source))
    return hints


def _views(rows: Sequence[tuple[Row, str]], source: str) -> list[Hint]:
    """Look for mismatched arrays of raw bytes, as which numpy saves bfloat16 and float8."""
    found: dict[str, list[str]] = {}
    for row, name in rows:
        have, want = row.array_dtype or "", row.dtype or ""
        if row.kind is Kind.MISMATCHED and dtypes.is_raw(have):
            size = dtypes.itemsize(have)
            # Two bytes that numpy has no name for are bfloat16. Of one byte there are many dtypes.
            kind = "bfloat16" if size == 2 else want
            is_possible = dtypes.is_number(kind) and kind != "bool"
            array = ArraySpec(name, row.array_shape or (), kind)
            variable = VariableSpec(row.name, row.shape, want)
            if (
                is_possible
                and dtypes.itemsize(kind) == size
                and judge(array, variable)[0] is not Kind.MISMATCHED
            ):
                found.setdefault(kind, []).append(name)
    return [
        Hint(
            f"{plural(len(names), 'array')} would fit, if the raw bytes are {kind}",
            {"view": dict.fromkeys(names, kind)},
            source,
        )
        for kind, names in found.items()
    ]
