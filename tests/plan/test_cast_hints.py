"""initreg.plan.cast_hints: what to type for quantised integers."""

import pytest

from initreg.plan.cast_hints import casts
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.specs import ArraySpec, VariableSpec


def hints(arrays, variables):
    plan = match(
        [SourceSpecs("s", [ArraySpec(*each) for each in arrays])],
        [VariableSpec(*each) for each in variables],
        "model",
    )
    return casts([(row, f"{row.array}!") for row in plan.of("mismatched")], '"m.npz"')


def test_all_arrays_of_one_pair_of_dtypes_are_one_hint():
    """By the names that they have after rules, with the code to type."""
    arrays = [("a", (2,), "int8"), ("b", (1, 2), "int8"), ("c", (2,), "qint32")]
    arrays += [("d", (3,), "int8"), ("e", (2,), "int16"), ("f", (2,), "float32")]
    variables = [("a", (2,), "qint8"), ("b", (2,), "qint8"), ("c", (2,), "int32")]
    variables += [("d", (2,), "qint8"), ("e", (2,), "qint8"), ("f", (2,), "float16")]
    found = hints(arrays, variables)
    assert [hint.options for hint in found] == [
        {"cast": {"a!": "qint8", "b!": "qint8"}},
        {"cast": {"c!": "int32"}},
    ]
    assert str(found[0]) == (
        "2 arrays would fit as qint8, if its scale is that of the int8 in the source: "
        'SmartInit("m.npz", cast={"a!": "qint8", "b!": "qint8"})'
    )
    assert found[1].words == (
        "1 array would fit as int32, which are the integers of qint32 without its scale"
    )


@pytest.mark.parametrize(("have", "want"), [("qint8", "qint8"), ("int8", "int32"), ("f4", "qint8")])
def test_other_dtypes_get_no_hint(have, want):
    """Neither what fits, nor what no cast mends."""
    assert hints([("a", (2,), have)], [("a", (2,), want)]) == []
