"""The headers of .npy arrays that initreg writes are numpy's."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from initreg_formats.shared.npy_header import make_header, parse_header

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]


@given(st.sampled_from([*DTYPES, "U3", "S5"]), st.lists(st.integers(0, 2**63 - 1), max_size=64))
def test_headers_are_numpys(kind: str, axes: list[int]) -> None:
    """numpy and initreg read shape and dtype from it, and an array after it is aligned."""
    dtype, shape = np.dtype(kind), tuple(axes)
    head = make_header(dtype.str, shape)
    assert len(head) % 64 == 0
    if len(head) <= 10_000:  # numpy does not read more characters
        file = io.BytesIO(head)
        assert np.lib.format.read_magic(file) == (1, 0)
        assert np.lib.format.read_array_header_1_0(file) == (shape, False, dtype)
        assert file.tell() == len(head)
    assert parse_header(head, "x") == (len(head), shape, dtype.str, False)
