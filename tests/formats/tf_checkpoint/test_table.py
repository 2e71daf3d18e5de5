"""The tables that initreg writes, which its reader reads back."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

import initreg
from initreg_formats.tf_checkpoint.leveldb import Table
from initreg_formats.tf_checkpoint.table import write_table


@given(
    entries=st.dictionaries(
        st.one_of(
            st.binary(max_size=40),
            st.builds(lambda n, end: b"k" * n + end, st.integers(0, 300), st.binary(max_size=3)),
        ),
        st.one_of(st.binary(max_size=40), st.integers(100, 9000).map(lambda n: b"v" * n)),
        max_size=120,
    ),
    block_size=st.sampled_from([1, 100, 4096, 1 << 18]),
)
def test_tables(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[bytes, bytes], block_size: int
) -> None:
    """Any sorted keys and values come back, whatever the size of the blocks."""
    path = tmp_path_factory.getbasetemp() / "any.index"
    with open(path, "wb") as file:
        write_table(file, sorted(entries.items()), block_size)
    with Table(initreg.Source(path), verify=True) as table:
        assert list(table.entries()) == sorted(entries.items())


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"], [b"ab", b"a"]])
def test_keys_that_do_not_rise(keys: list[bytes]) -> None:
    """Keys that are out of order or equal are refused, because no reader would find them."""
    with pytest.raises(ValueError, match="comes after"):
        write_table(io.BytesIO(), [(key, b"") for key in keys])
