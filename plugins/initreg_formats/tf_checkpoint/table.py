"""Writing LevelDB's table, which ``leveldb`` reads. The bytes are the same as TensorFlow's.

The layout is from LevelDB's doc/table_format.md. The sizes are from TensorFlow's
tsl/lib/io/table_options.h. The keys in the list of blocks are from its tsl/lib/io/table_builder.cc.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from initreg_formats.shared.protobuf import encode_varint
from initreg_formats.tf_checkpoint.leveldb import FOOTER, MAGIC

BLOCK_SIZE = 1 << 18  # bytes after which a block is full
_RESTART = 16  # entries after which a key is stored in full again
_UNCOMPRESSED = b"\x00"  # TensorFlow does not compress an index


def mask(crc: int) -> int:
    """A crc32c as it is stored. Source: TensorFlow's tsl/lib/hash/crc32c.h."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_table(
    file: BinaryIO, entries: Iterable[tuple[bytes, bytes]], block_size: int = BLOCK_SIZE
) -> None:
    """Write a complete table at the start of ``file``.

    Args:
        file: a file at its start.
        entries: keys and values. The keys must ascend.
        block_size: bytes after which a block is full.

    Raises:
        ValueError: the keys do not ascend.
    """
    blocks = _Block(1)  # lists the blocks: a key between a block and the next one, and the handle
    block = _Block(_RESTART)
    offset = 0
    pending = b""  # the handle of the block before, which is listed when the next key is known
    last: bytes | None = None
    for key, value in entries:
        if last is not None and key <= last:
            raise ValueError(f"the key {key!r} comes after {last!r}")
        if pending:
            assert last is not None
            blocks.add(_between(last, key), pending)
            pending = b""
        block.add(key, value)
        last = key
        if block.size >= block_size:
            pending, offset = _put(file, block, offset)
            block = _Block(_RESTART)
    if block.data:
        pending, offset = _put(file, block, offset)
    meta, offset = _put(file, _Block(_RESTART), offset)
    if pending:
        assert last is not None
        blocks.add(_after(last), pending)
    listed, offset = _put(file, blocks, offset)
    file.write((meta + listed).ljust(FOOTER - len(MAGIC), b"\0") + MAGIC)


class _Block:
    """Entries, each with the part of its key that differs from the key before it. After every
    ``interval`` entries, a key is stored in full."""

    def __init__(self, interval: int) -> None:
        self.data = bytearray()
        self._interval = interval
        self._restarts = [0]
        self._count = 0
        self._last = b""

    @property
    def size(self) -> int:
        return len(self.data) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._count < self._interval:
            shared = _shared(self._last, key)
        else:
            self._restarts.append(len(self.data))
            self._count = 0
        own = len(key) - shared
        if (shared | own | len(value)) < 0x80:
            self.data += bytes((shared, own, len(value)))
        else:
            self.data += encode_varint(shared) + encode_varint(own) + encode_varint(len(value))
        self.data += key[shared:]
        self.data += value
        self._count += 1
        self._last = key

    def finished(self) -> bytes:
        """Its bytes: the entries, where each full key begins, and the number of these."""
        tail = [*self._restarts, len(self._restarts)]
        return bytes(self.data) + b"".join(at.to_bytes(4, "little") for at in tail)


def _put(file: BinaryIO, block: _Block, offset: int) -> tuple[bytes, int]:
    """Write a block at ``offset``. Returns its handle, and where the next block begins."""
    import google_crc32c

    content = block.finished()
    stored = content + _UNCOMPRESSED
    crc = mask(google_crc32c.value(stored))
    file.write(stored + crc.to_bytes(4, "little"))
    return encode_varint(offset) + encode_varint(len(content)), offset + len(stored) + 4


def _shared(a: bytes, b: bytes) -> int:
    """The length of the common beginning, in bytes."""
    length = min(len(a), len(b))
    # Finding the highest bit in which two numbers differ is faster than a loop over bytes.
    differing = int.from_bytes(a[:length], "big") ^ int.from_bytes(b[:length], "big")
    return length - (differing.bit_length() + 7) // 8


def _between(last: bytes, following: bytes) -> bytes:
    """A short key that is not below ``last``, but below ``following``."""
    at = _shared(last, following)
    if at < len(last) and last[at] + 1 < following[at]:
        return last[:at] + bytes((last[at] + 1,))
    return last


def _after(last: bytes) -> bytes:
    """A short key that is not below ``last``."""
    for at, byte in enumerate(last):
        if byte != 0xFF:
            return last[:at] + bytes((byte + 1,))
    return last
