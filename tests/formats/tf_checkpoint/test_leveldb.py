"""Reading LevelDB's tables, written by another writer or damaged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg import DamagedFile, Source
from initreg_formats.tf_checkpoint.leveldb import MAGIC, Table, unmask


@given(st.integers(0, (1 << 32) - 1))
def test_unmask(tables: SimpleNamespace, crc: int) -> None:
    """A checksum is what it was before it was masked."""
    assert unmask(tables.mask(crc)) == crc


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
    """Any keys and values, in blocks of any size, are read in order."""
    path = tmp_path_factory.getbasetemp() / "any.index"
    wanted = sorted(entries.items())
    path.write_bytes(tables.table(wanted, packed, block_size))
    assert list(tables.read(path).items()) == wanted


def opened(path: Path, data: bytes) -> list[tuple[bytes, bytes]]:
    path.write_bytes(data)
    with Table(Source(path), verify=True) as table:
        return list(table.entries())


def test_block_listed_many_times(tables: SimpleNamespace, tmp_path: Path) -> None:
    """A block that the index lists many times is not read as often."""
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
    """A block whose keys share 100,000 bytes, which it stores once."""
    raw = b""
    for n, value in enumerate(values):
        shared, own = (100_000, b"%06d" % n) if n else (0, b"k" * 100_000 + b"000000")
        raw += b"".join(map(tables.varint, (shared, len(own), len(value)))) + own + value
    return tables.stored(raw + bytes(4) + (1).to_bytes(4, "little"))


def test_keys_that_grow_without_bytes(tables: SimpleNamespace, tmp_path: Path) -> None:
    """A small block whose keys share a long beginning does not grow to gigabytes."""
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
    """A list of blocks whose keys share a long beginning does not grow to gigabytes."""
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
        "its end is damaged: it has a number": no_end,
    }
    for text, data in wrong.items():
        with pytest.raises(DamagedFile) as caught:
            opened(path, data)
        assert text in str(caught.value)
        assert str(path) in str(caught.value)
    assert opened(path, good) == [(b"", b"\x08\x01"), (b"a", b"")]
