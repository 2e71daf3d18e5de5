"""LevelDB's table: sorted keys and values in blocks. The ``.index`` of a checkpoint is one.

Source of the layout: LevelDB's doc/table_format.md; TensorFlow's tsl/lib/io/format.cc, block.cc
and table_builder.cc, which is where its own writer lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from initreg import DamagedFile, InitregError, Source
from initreg_formats.tf_checkpoint import snappy
from initreg_formats.tf_checkpoint.proto import Malformed, varint

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
FOOTER = 48  # bytes: two handles, padding, the magic
_TRAILER = 5  # bytes after each block: its compression, its checksum
_RAW, _SNAPPY = 0, 1
# Keys are stored as what differs from the one before, so a small file may spell very long ones.
# TensorFlow's writer spells every 16th key out, and keys are shorter than their entries.
_NAME_BYTES_PER_BYTE = 64
_NAME_BYTES = 1 << 20  # that many in any case


class Handle(NamedTuple):
    """Where a block lies, without its trailer."""

    offset: int
    size: int


def unmask(masked: int) -> int:
    """A stored checksum as the crc32c of the bytes. Source: TensorFlow's tsl/lib/hash/crc32c.h."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def has_magic(source: Source) -> bool:
    """Whether the file is there, can be read and ends as a table does."""
    try:
        if not source.is_file or source.size < FOOTER:
            return False
        return source.read(-len(MAGIC), len(MAGIC)) == MAGIC
    except InitregError:
        return False


class Table:
    """An open table; use it in a ``with``. ``verify``: check the checksum of every block read.

    Raises DamagedFile if the file is no whole table. No more memory is taken than the file's size
    can justify, whatever the file says.
    """

    def __init__(self, source: Source, verify: bool) -> None:
        self._what = source.label
        self._verify = verify
        self._size = source.size
        if not source.is_file:
            raise DamagedFile(f"{self._what}: is no file, so it cannot be read")
        if self._size == 0:
            raise DamagedFile(f"{self._what}: the file is empty. Download or copy it again")
        self._file: BinaryIO = source.open()
        # Bytes that the keys may have, all together.
        self._room = max(self._size * _NAME_BYTES_PER_BYTE, _NAME_BYTES)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value, in the order of the keys, which rises."""
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
        """The entries of one block: views of it, so that it is not copied."""
        try:
            return dict(self._bounded(cast("bytes", memoryview(self._block(handle)))))
        except Malformed as error:
            raise self._damaged(handle, error) from error

    def _bounded(self, block: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries of one block. Raises Malformed if the keys that were read since the table was
        opened are far longer than the file."""
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
        """The blocks in order, each with a key that none of its own exceeds."""
        index = self._index()
        end = 0
        try:
            for key, value in self._bounded(self._block(index)):
                handle, _ = _handle(value, 0)
                # Blocks follow each other. One that is listed twice would be read twice, and a
                # file of a megabyte can list a large block a hundred thousand times.
                if handle.offset < end:
                    raise Malformed("blocks that overlap")
                end = self._end(handle)
                yield key, handle
        except Malformed as error:
            raise self._damaged(index, error) from error

    def _index(self) -> Handle:
        """Where the block that lists the blocks lies, from the footer."""
        if self._size < FOOTER:
            raise DamagedFile(
                f"{self._what}: has {self._size} bytes, fewer than the {FOOTER} of a table's end: "
                "the file is truncated. Download or copy it again"
            )
        footer = self._at(self._size - FOOTER, FOOTER)
        if not footer.endswith(MAGIC):
            raise DamagedFile(
                f"{self._what}: does not end like the index of a TensorFlow checkpoint (a LevelDB "
                "table): the file is truncated, or something else. Download or copy it again"
            )
        try:
            _, at = _handle(footer, 0)
            index, _ = _handle(footer, at)
            self._end(index)
        except Malformed as error:
            raise DamagedFile(f"{self._what}: its end is damaged: {error}") from error
        return index

    def _end(self, handle: Handle) -> int:
        """Where the block's trailer ends. Raises Malformed if that is past the file's own end."""
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
        """A block as it is stored, with the byte of its compression; its checksum is checked."""
        data = self._at(handle.offset, handle.size + _TRAILER)
        stored, kind = data[: handle.size + 1], data[handle.size + 1 :]
        if self._verify:
            import google_crc32c

            expected = unmask(int.from_bytes(kind, "little"))
            found = google_crc32c.value(stored)
            if found != expected:
                raise DamagedFile(
                    f"{self._what}: the block at byte {handle.offset:,} fails its crc32c: the "
                    f"file says {expected:08x}, its bytes give {found:08x}. The file is corrupt: "
                    "download or copy it again"
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
    """The entries of an unpacked block, in order. Raises Malformed."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts  # the restarts are for binary search alone
    if end < 0:
        raise Malformed("fewer bytes than its own tail")
    at = 0
    key = b""
    while at < end:
        # Three numbers, one byte each but for long ones. They cannot be read past the block,
        # whose tail of at least 4 bytes comes after them.
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
    """The first key and its value of what may be a table; None if it is none, or is damaged."""
    try:
        with Table(source, verify=False) as table:
            return table.first()
    except InitregError:
        return None
