"""Reading LevelDB's table: sorted keys and values in blocks. The ``.index`` of a checkpoint is one.

Source of the layout: LevelDB's doc/table_format.md. TensorFlow's own code for it is in
tsl/lib/io/format.cc, block.cc and table_builder.cc.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from initreg import DamagedFile, InitregError, Source
from initreg_formats.shared.protobuf import Malformed, varint
from initreg_formats.tf_checkpoint import snappy

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
FOOTER = 48  # bytes: two handles, padding, the magic
_TRAILER = 5  # bytes after each block: its compression, its checksum
_RAW, _SNAPPY = 0, 1
# A key is stored as its difference from the key before it, so a small file may hold very long keys.
# TensorFlow's writer stores every 16th key in full, and keys are shorter than their entries.
_NAME_BYTES_PER_BYTE = 64
_NAME_BYTES = 1 << 20  # always allowed


class Handle(NamedTuple):
    """Where a block lies. Its trailer comes after it."""

    offset: int
    size: int


def unmask(masked: int) -> int:
    """A stored checksum as the crc32c of the bytes. Source: TensorFlow's tsl/lib/hash/crc32c.h."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def has_magic(source: Source) -> bool:
    """Whether the file exists, can be read, and ends as a table does."""
    try:
        if not source.is_file or source.size < FOOTER:
            return False
        return source.read(-len(MAGIC), len(MAGIC)) == MAGIC
    except InitregError:
        return False


class Table:
    """An open table, to be used in a ``with``.

    With ``verify``, the checksum of every block is checked when it is read. Raises DamagedFile if
    the file is not a complete table. Whatever the file says, no more memory is used than its size
    can justify.
    """

    def __init__(self, source: Source, verify: bool) -> None:
        self._what = source.label
        self._verify = verify
        self._size = source.size
        if not source.is_file:
            raise DamagedFile(f"{self._what}: is not a file, so it cannot be read")
        if self._size == 0:
            raise DamagedFile(f"{self._what}: the file is empty. Download or copy it again")
        self._file: BinaryIO = source.open()
        # How many bytes all keys together may still have.
        self._room = max(self._size * _NAME_BYTES_PER_BYTE, _NAME_BYTES)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value, in ascending order of the keys."""
        last: bytes | None = None
        for handle in self.handles():
            block = self._block(handle)
            try:
                for key, value in self._bounded(block):
                    if last is not None and key <= last:
                        raise Malformed("keys that are out of order")
                    yield key, value
                    last = key
            except Malformed as error:
                raise self._damaged(handle, error) from error

    def first(self) -> tuple[bytes, bytes] | None:
        """The first key and its value, None if the table is empty."""
        return next(self.entries(), None)

    def block(self, handle: Handle) -> dict[bytes, bytes]:
        """The entries of one block, as views of it, so that it is not copied."""
        try:
            return dict(self._bounded(cast("bytes", memoryview(self._block(handle)))))
        except Malformed as error:
            raise self._damaged(handle, error) from error

    def _bounded(self, block: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries of one block. Raises Malformed if all keys read so far are together far
        longer than the file."""
        for key, value in entries(block):
            self._room -= len(key)
            if self._room < 0:
                raise Malformed("names far longer than the file")
            yield key, value

    def check(self) -> None:
        """Read every block and check its checksum. Raises DamagedFile."""
        for handle in self.handles():
            self._read(handle)

    def handles(self) -> Iterator[Handle]:
        """The blocks that hold the entries, in order."""
        return (handle for _, handle in self.listed())

    def listed(self) -> Iterator[tuple[bytes, Handle]]:
        """The blocks in order, each with a key that is not below any key in it."""
        index = self._index()
        end = 0
        try:
            for key, value in self._bounded(self._block(index)):
                handle, _ = _handle(value, 0)
                # A block that is listed twice would be read twice, and a file of a megabyte can
                # list a large block a hundred thousand times. So each must begin after the last.
                if handle.offset < end:
                    raise Malformed("blocks that overlap")
                end = self._end(handle)
                yield key, handle
        except Malformed as error:
            raise self._damaged(index, error) from error

    def _index(self) -> Handle:
        """Where the block that lists the other blocks lies. The footer says it."""
        if self._size < FOOTER:
            raise DamagedFile(
                f"{self._what}: has {self._size} bytes, fewer than the {FOOTER} of a table's end. "
                "The file is truncated. Download or copy it again"
            )
        footer = self._at(self._size - FOOTER, FOOTER)
        if not footer.endswith(MAGIC):
            raise DamagedFile(
                f"{self._what}: does not end like the index of a TensorFlow checkpoint (a LevelDB "
                "table). The file is truncated, or something else. Download or copy it again"
            )
        try:
            _, at = _handle(footer, 0)
            index, _ = _handle(footer, at)
            self._end(index)
        except Malformed as error:
            raise DamagedFile(
                f"{self._what}: its end is damaged: it has {error}. Download or copy it again"
            ) from error
        return index

    def _end(self, handle: Handle) -> int:
        """Where the block's trailer ends. Raises Malformed if that is not before the footer."""
        end = handle.offset + handle.size + _TRAILER
        if end > self._size - FOOTER:
            raise Malformed(f"a block that should end at byte {end:,} of {self._size:,}")
        return end

    def _at(self, offset: int, size: int) -> bytes:
        try:
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as error:
            raise DamagedFile(f"{self._what}: cannot be read: {error.strerror}") from error
        if len(data) != size:
            raise DamagedFile(f"{self._what}: ends while it is being read. Is it being written?")
        return data

    def _read(self, handle: Handle) -> bytes:
        """A block as it is stored, with the byte for its compression. Its checksum is checked."""
        data = self._at(handle.offset, handle.size + _TRAILER)
        stored, kind = data[: handle.size + 1], data[handle.size + 1 :]
        if self._verify:
            from fastcrc import crc32

            expected = unmask(int.from_bytes(kind, "little"))
            found = crc32.iscsi(stored)
            if found != expected:
                raise DamagedFile(
                    f"{self._what}: the block at byte {handle.offset:,} fails its crc32c: the "
                    f"file says {expected:08x}, its bytes give {found:08x}. The file is corrupt. "
                    "Download or copy it again"
                )
        return stored

    def _block(self, handle: Handle) -> bytes:
        stored = self._read(handle)
        kind = stored[-1]
        if kind == _RAW:
            return stored[:-1]
        try:
            if kind == _SNAPPY:
                return snappy.decompress(stored[:-1])
            raise Malformed(f"compression {kind}, which is unknown")
        except Malformed as error:
            raise self._damaged(handle, error) from error

    def _damaged(self, handle: Handle, error: Malformed) -> DamagedFile:
        return DamagedFile(
            f"{self._what}: the block at byte {handle.offset:,} is damaged: it has {error}. "
            "Download or copy the file again"
        )


def _handle(data: bytes, at: int) -> tuple[Handle, int]:
    offset, at = varint(data, at, len(data))
    size, at = varint(data, at, len(data))
    return Handle(offset, size), at


def entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of an unpacked block, in order. Raises Malformed."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts  # restarts only serve binary search
    if end < 0:
        raise Malformed("fewer bytes than its own tail")
    at = 0
    key = b""
    while at < end:
        # Three numbers, usually of one byte each. Reading them cannot leave the block, because at
        # least 4 bytes of tail come after the entries.
        shared, own, size = block[at], block[at + 1], block[at + 2]
        if (shared | own | size) < 0x80:
            at += 3
        else:
            shared, at = varint(block, at, end)
            own, at = varint(block, at, end)
            size, at = varint(block, at, end)
        start, stop = at + own, at + own + size
        if shared > len(key) or stop > end:
            raise Malformed("an entry that is longer than the block")
        key = key[:shared] + block[at:start]
        yield key, block[start:stop]
        at = stop


def first_entry(source: Source) -> tuple[bytes, bytes] | None:
    """The first key and its value; None if the source is not a table, or is damaged."""
    try:
        with Table(source, verify=False) as table:
            return table.first()
    except InitregError:
        return None
