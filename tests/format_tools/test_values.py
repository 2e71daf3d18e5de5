"""Arrays that are computed, and arrays that are listed and cannot be read."""

from __future__ import annotations

import numpy as np
import pytest

from initreg import DamagedFile, InitregError
from initreg.format_tools.values import UNKNOWN, Computed, Unreadable, WithoutValue, is_of_a_graph


def test_a_computed_array_is_made_when_it_is_asked_for() -> None:
    """Nothing is read to make it, and each reading makes it anew."""
    made: list[int] = []

    def read() -> np.ndarray:
        made.append(1)
        return np.ones(2, np.float32)

    array = Computed((2,), "float32", read, ("other",))
    assert (array.shape, array.dtype, array.aliases, made) == ((2,), "float32", ("other",), [])
    assert np.asarray(array).tolist() == np.asarray(array).tolist() == [1, 1]
    assert len(made) == 2


def test_reading_what_is_unreadable_is_its_error() -> None:
    """The reason is an attribute, and the message of the error that it is of."""
    array = Unreadable((), UNKNOWN, "m: array 'w' cannot be read", kind=DamagedFile)
    assert array.unreadable == "m: array 'w' cannot be read"
    with pytest.raises(DamagedFile, match="'w' cannot be read"):
        np.asarray(array)


def test_an_array_without_value_can_be_compared() -> None:
    """It is not listed as unreadable, and to read it is an error all the same."""
    array = WithoutValue((3,), "float32", "m: holds no values")
    assert array.unreadable == ""
    with pytest.raises(InitregError, match="holds no values"):
        np.asarray(array)


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        ("int32", (), True),
        ("int64", (8, 8), True),
        ("string", (3,), True),
        ("bool", (), True),
        ("int32", (65,), False),
        ("float32", (), False),
        ("int8", (4,), False),
    ],
)
def test_numbers_of_a_graph(dtype: str, shape: tuple[int, ...], expected: bool) -> None:
    """Axes, shapes and paddings are small and have no fractions. A weight may be small, too."""
    assert is_of_a_graph(dtype, shape) is expected
