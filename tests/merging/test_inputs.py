"""What goes into a merged array: pieces, the dtype of the computation, what is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import initreg
from initreg.arrays.regions import Box
from initreg.merging import inputs
from initreg.merging.inputs import Input, Seen, computed_in, read_together, start_of


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["float16", "bfloat16"], "float32"),
        (["float8_e4m3fn"], "float32"),
        (["float32", "float64"], "float64"),
        (["complex64", "float32"], "complex64"),
        (["complex64", "float64"], "complex128"),
    ],
)
def test_it_is_computed_in_float32_or_wider(names: list[str], wanted: str) -> None:
    """The widest dtype of the arrays, and at least float32."""
    assert computed_in(names) == np.dtype(wanted)


def test_arrays_are_read_side_by_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Arrays of several dtypes are cut at the same places, and nothing is left out."""
    monkeypatch.setattr(inputs, "_PIECE", 64)
    monkeypatch.setattr(inputs, "_LEAST", 64)
    values = np.arange(60, dtype="f4").reshape(3, 4, 5)
    path = initreg.save(tmp_path / "a.npz", {"a": values, "b": values.astype("f2")})
    with initreg.open(path) as opened:
        given = [Input(opened["a"], "A"), Input(opened["b"], "B")]
        found = np.zeros((2, 60), "f4")
        count = 0
        for box, (one, other) in read_together(given, np.dtype("f4")):
            start = start_of(box, values.shape)
            found[0, start : start + one.size] = one.reshape(-1)
            found[1, start : start + one.size] = other.reshape(-1)
            count += 1
    assert count > 3
    np.testing.assert_array_equal(found, [values.reshape(-1)] * 2)


def test_what_is_not_finite_is_counted() -> None:
    """NaN and infinities are counted by array and source. Large numbers are not among them."""
    seen = Seen()
    seen.look("w", "A", np.array([[1e30, -3e38]], "f4"))
    assert seen.found() == ()
    seen.look("w", "A", np.array([np.nan, np.inf, 1], "f4"))
    seen.look("w", "A", np.array([-np.inf], "f4"))
    seen.look("b", "A", np.array([np.nan], "f4"))
    (first, other) = seen.found()
    assert (first.name, first.source, first.nan, first.inf) == ("w", "A", 1, 2)
    assert other.to_dict() == {"name": "b", "source": "A", "nan": 1, "inf": 0}
    seen.forget("w")  # it is read once more
    assert [each.name for each in seen.found()] == ["b"]


def test_the_start_of_a_region() -> None:
    """The index of its first element in C order."""
    assert start_of(Box((), (), ()), ()) == 0
    assert start_of(Box((1, 0, 3), (2, 1, 4), ()), (4, 5, 6)) == 33
