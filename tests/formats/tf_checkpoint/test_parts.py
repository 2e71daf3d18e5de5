"""The readers below: numbers, messages, snappy and tables, each against another implementation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_shape_pb2, tensor_slice_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2

from initreg import DamagedFile, Source
from initreg_formats.shared import protobuf
from initreg_formats.shared.protobuf import Malformed
from initreg_formats.tf_checkpoint import snappy
from initreg_formats.tf_checkpoint.entry import Slice, parse_entry, parse_shape, parse_slice
from initreg_formats.tf_checkpoint.leveldb import MAGIC, Table, unmask

WORDS = st.lists(
    st.sampled_from([b"layer", b"/kernel", b"\0", b"\x08\x01\x12", b"x" * 70, b"ab"])
    | st.binary(max_size=40),
    max_size=60,
).map(b"".join)


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=3))
def test_varint(tables: SimpleNamespace, number: int, rest: bytes) -> None:
    """Every 64-bit number is read, and where it ends."""
    data = tables.varint(number)
    assert protobuf.varint(data + rest, 0, len(data + rest)) == (number, len(data))
    assert protobuf.varint(rest + data, len(rest), len(rest + data))[0] == number
    for end in range(len(data)):
        with pytest.raises(Malformed):
            protobuf.varint(data, 0, end)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 10 + b"\x01", b"\xff" * 9 + b"\x02"])
def test_varint_that_is_none(data: bytes) -> None:
    """A number that does not end, or that has more than 64 bits, is refused."""
    with pytest.raises(Malformed):
        protobuf.varint(data, 0, len(data))


@given(st.binary(max_size=60))
def test_any_bytes_as_messages(data: bytes) -> None:
    """Bytes that are no message give Malformed, and nothing else; the readers end."""
    for reader in (lambda d: list(protobuf.fields(d)), parse_entry, parse_shape, parse_slice):
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
    """An entry is read as protobuf reads it, with fields that it does not know as well."""
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
    """A negative axis, too many of them, too many elements, an unknown rank: refused."""
    for sizes in ([-1], [2] * 33, [1 << 40, 1 << 40, 0], [1 << 62]):
        shape = tensor_shape_pb2.TensorShapeProto()
        for size in sizes:
            shape.dim.add(size=size)
        with pytest.raises(Malformed):
            parse_shape(shape.SerializeToString())
    with pytest.raises(Malformed):
        parse_shape(tensor_shape_pb2.TensorShapeProto(unknown_rank=True).SerializeToString())


@given(st.integers(0, (1 << 32) - 1))
def test_unmask(tables: SimpleNamespace, crc: int) -> None:
    """A checksum is what it was before it was masked."""
    assert unmask(tables.mask(crc)) == crc


@given(WORDS)
def test_snappy(data: bytes) -> None:
    """What snappy's own compressor packed unpacks to the same bytes."""
    assert snappy.decompress(bytes(cramjam.snappy.compress_raw(data))) == data


@given(WORDS, st.data())
def test_snappy_that_is_damaged(data: bytes, draw: st.DataObject) -> None:
    """Packed bytes with some changed or missing unpack as snappy does, or give Malformed."""
    packed = bytearray(cramjam.snappy.compress_raw(data))
    for _ in range(draw.draw(st.integers(1, 3))):
        packed[draw.draw(st.integers(0, len(packed) - 1))] = draw.draw(st.integers(0, 255))
    packed = packed[: draw.draw(st.integers(0, len(packed)))]
    check_like_snappy(bytes(packed))


@given(st.binary(max_size=80))
def test_any_bytes_as_snappy(data: bytes) -> None:
    """Any bytes at all unpack as snappy does, or give Malformed."""
    check_like_snappy(data)


def check_like_snappy(packed: bytes) -> None:
    try:
        wanted: bytes | None = bytes(cramjam.snappy.decompress_raw(packed))
    except cramjam.DecompressionError:
        wanted = None
    try:
        found: bytes | None = snappy.decompress(packed)
    except Malformed:
        found = None
    if packed:  # of no bytes at all, cramjam makes no bytes; snappy's own reader refuses them
        assert found == wanted


def test_snappy_by_hand() -> None:
    """Each element of the format: literals with a length of 0 to 4 bytes, copies of 1, 2 and 4
    bytes, one that repeats itself."""
    assert snappy.decompress(b"\x05\x10abcde") == b"abcde"
    assert snappy.decompress(b"\x46\xf0\x45" + b"x" * 70) == b"x" * 70
    assert snappy.decompress(b"\x46\xf4\x45\x00" + b"x" * 70) == b"x" * 70
    assert snappy.decompress(b"\x46\xf8\x45\x00\x00" + b"x" * 70) == b"x" * 70
    assert snappy.decompress(b"\x46\xfc\x45\x00\x00\x00" + b"x" * 70) == b"x" * 70
    assert snappy.decompress(b"\x06\x04ab\x01\x02") == b"ababab"
    assert snappy.decompress(b"\x05\x04ab\x0a\x02\x00") == b"ababa"
    assert snappy.decompress(b"\x05\x04ab\x0b\x02\x00\x00\x00") == b"ababa"


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xff\xff\xff\xff\x0f\x00a",  # 4 GB from two bytes
        b"\x05\x10abcd",  # ends inside a literal
        b"\x05\xf4\x04",  # ends inside a length
        b"\x06\x04ab\x0a\x02",  # ends inside a copy
        b"\x06\x04ab\x01\x03",  # copies from before the beginning
        b"\x06\x04ab\x01\x00",  # copies from nowhere
        b"\x03\x10abcde",  # more than it says
        b"\x09\x10abcde",  # less than it says
    ],
)
def test_snappy_that_lies(packed: bytes) -> None:
    """Streams that are wrong in one way each are refused."""
    with pytest.raises(Malformed):
        snappy.decompress(packed)


@given(
    st.dictionaries(st.binary(max_size=30), st.binary(max_size=300), max_size=60),
    st.booleans(),
    st.integers(1, 2000),
)
def test_table(
    tables: SimpleNamespace,
    tmp_path_factory: pytest.TempPathFactory,
    entries: dict[bytes, bytes],
    packed: bool,
    block_size: int,
) -> None:
    """Whatever keys and values are written, in blocks of any size, are read in order."""
    path = tmp_path_factory.getbasetemp() / "any.index"
    wanted = sorted(entries.items())
    path.write_bytes(tables.table(wanted, packed, block_size))
    assert list(tables.read(path).items()) == wanted


def opened(path: Path, data: bytes) -> list[tuple[bytes, bytes]]:
    path.write_bytes(data)
    with Table(Source(path), verify=True) as table:
        return list(table.entries())


def test_block_listed_many_times(tables: SimpleNamespace, tmp_path: Path) -> None:
    """An index that lists one block again and again does not make it read so often."""
    data = tables.stored(tables.block([(b"k%06d" % n, bytes(50)) for n in range(1000)]))
    meta = tables.stored(tables.block([]))
    index = tables.stored(
        tables.block([(b"k%06d" % n, tables.handle(0, data)) for n in range(10_000)], 1)
    )
    at = len(data)
    whole = data + meta + index
    end = tables.footer(tables.handle(at, meta), tables.handle(at + len(meta), index))
    with pytest.raises(DamagedFile, match=r"blocks that overlap|out of order"):
        opened(tmp_path / "m", whole + end)


def grown(tables: SimpleNamespace, values: Iterable[bytes]) -> bytes:
    """A block whose keys share 100,000 bytes, which it spells once."""
    raw = b""
    for n, value in enumerate(values):
        shared, own = (100_000, b"%06d" % n) if n else (0, b"k" * 100_000 + b"000000")
        raw += b"".join(map(tables.varint, (shared, len(own), len(value)))) + own + value
    return tables.stored(raw + bytes(4) + (1).to_bytes(4, "little"))


def test_keys_that_grow_without_bytes(tables: SimpleNamespace, tmp_path: Path) -> None:
    """A small block whose keys share a long beginning does not unfold to gigabytes."""
    data = grown(tables, [b""] * 20_000)
    meta = tables.stored(tables.block([]))
    index = tables.stored(tables.block([(b"l", tables.handle(0, data))], 1))
    at = len(data)
    end = tables.footer(tables.handle(at, meta), tables.handle(at + len(meta), index))
    with pytest.raises(DamagedFile, match="names far longer than the file"):
        opened(tmp_path / "m", data + meta + index + end)
    with Table(Source(tmp_path / "m"), verify=True) as table:  # and not one block alone, either
        (handle,) = table.handles()
        with pytest.raises(DamagedFile, match="names far longer than the file"):
            table.block(handle)


def test_list_of_blocks_that_grows_without_bytes(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Nor does the list of the blocks, whose keys may share a beginning, too."""
    meta = tables.stored(tables.block([]))
    index = grown(tables, (tables.handle(n * len(meta), meta) for n in range(20_000)))
    at = 20_000 * len(meta)
    end = tables.footer(tables.handle(0, meta), tables.handle(at, index))
    path = tmp_path / "m"
    path.write_bytes(meta * 20_000 + index + end)
    with (
        Table(Source(path), verify=True) as table,
        pytest.raises(DamagedFile, match="names far longer than the file"),
    ):
        list(table.listed())


def test_what_is_wrong_with_a_table(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Each way in which a table is wrong has an error that says so and names the file."""
    path = tmp_path / "m.index"
    good = tables.table([(b"", b"\x08\x01"), (b"a", b"")])
    unsorted = tables.table([(b"b", b""), (b"a", b"")])
    kind = bytearray(tables.stored(tables.block([(b"a", b"")])))
    kind[-5] = 7
    kind[-4:] = tables.checksum(bytes(kind[:-4])).to_bytes(4, "little")
    at = len(kind)
    index = tables.stored(tables.block([(b"l", tables.handle(0, bytes(kind)))], 1))
    unknown = bytes(kind) + index + tables.footer(b"\0\0", tables.handle(at, index))
    beyond = good[:-48] + tables.footer(b"\0\0", tables.varint(len(good)) + b"\x05")
    no_end = good[:-48] + b"\xff" * 40 + MAGIC
    wrong = {
        "the file is empty": b"",
        "has 20 bytes, fewer than the 48": good[:20],
        "does not end like the index": good[:-1],
        "fails its crc32c": b"\x01" + good[1:],
        "keys that are out of order": unsorted,
        "compression 7": unknown,
        "its end is damaged: it has a block that should end": beyond,
        "its end is damaged: a number": no_end,
    }
    for text, data in wrong.items():
        with pytest.raises(DamagedFile) as caught:
            opened(path, data)
        assert text in str(caught.value)
        assert str(path) in str(caught.value)
    assert opened(path, good) == [(b"", b"\x08\x01"), (b"a", b"")]
