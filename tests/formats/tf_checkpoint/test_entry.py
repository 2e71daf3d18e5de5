"""Entries, slices and shapes of an index are read as protobuf reads them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_shape_pb2, tensor_slice_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2

from initreg_formats.shared.protobuf import Malformed
from initreg_formats.tf_checkpoint.entry import Slice, parse_entry, parse_shape, parse_slice


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are read or give Malformed, and reading them ends."""
    for reader in (parse_entry, parse_shape, parse_slice):
        try:
            reader(data)
        except Malformed:
            continue


axes = st.lists(st.integers(0, 1000), max_size=5)


@given(
    st.integers(0, 40),
    axes,
    *[st.integers(0, (1 << 31) - 1)],
    st.integers(0, (1 << 63) - 1),
    st.integers(0, (1 << 63) - 1),
    st.integers(0, (1 << 32) - 1),
)
def test_entry(
    tables: SimpleNamespace,
    dtype: int,
    shape: list[int],
    shard: int,
    offset: int,
    size: int,
    crc: int,
) -> None:
    """An entry is read as protobuf reads it, also with unknown fields."""
    message = tensor_bundle_pb2.BundleEntryProto(
        shard_id=shard, offset=offset, size=size, crc32c=tables.mask(crc)
    )
    message.dtype = dtype
    for axis in shape:
        message.shape.dim.add(size=axis)
    data = message.SerializeToString()
    wanted = (dtype, tuple(shape), shard, offset, size, crc, ())
    assert parse_entry(data) == wanted
    # Fields of a later version, of every wire type, before and after.
    later = b"\x50\x96\x01" + b"\x5a\x02ab" + b"\x61" + bytes(8) + b"\x6d" + bytes(4)
    later += tables.varint(3000 << 3) + b"\x01"
    assert parse_entry(later + data + later) == wanted


@given(
    st.lists(st.tuples(st.integers(0, 1 << 40), st.none() | st.integers(0, 1 << 40)), max_size=4)
)
def test_slice(extents: list[tuple[int, int | None]]) -> None:
    """A slice is read as protobuf reads it."""
    message = tensor_slice_pb2.TensorSliceProto()
    for start, length in extents:
        message.extent.add(start=start, length=length)
    found = parse_slice(message.SerializeToString())
    assert found == Slice(tuple(s for s, _ in extents), tuple(n for _, n in extents))


def test_shapes_that_no_array_has() -> None:
    """A negative axis, too many axes, too many elements and an unknown rank are refused."""
    for sizes in ([-1], [2] * 33, [1 << 40, 1 << 40, 0], [1 << 62]):
        shape = tensor_shape_pb2.TensorShapeProto()
        for size in sizes:
            shape.dim.add(size=size)
        with pytest.raises(Malformed):
            parse_shape(shape.SerializeToString())
    with pytest.raises(Malformed):
        parse_shape(tensor_shape_pb2.TensorShapeProto(unknown_rank=True).SerializeToString())
