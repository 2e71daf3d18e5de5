"""A writer of LevelDB tables for tests that need what TensorFlow does not write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cramjam
import google_crc32c
import numpy as np
import pytest
import tensorflow as tf

from initreg import Source
from initreg_formats.tf_checkpoint.leveldb import MAGIC, Table


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def mask(crc: int) -> int:
    """The crc32c as it is stored."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def checksum(data: bytes) -> int:
    return mask(google_crc32c.value(data))


def block(entries: Iterable[tuple[bytes, bytes]], restart: int = 16) -> bytes:
    out = bytearray()
    restarts = []
    last = b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        last = key
    restarts = restarts or [0]
    for at in restarts:
        out += at.to_bytes(4, "little")
    return bytes(out) + len(restarts).to_bytes(4, "little")


def stored(raw: bytes, snappy: bool = False) -> bytes:
    """A block with its trailer."""
    body = bytes(cramjam.snappy.compress_raw(raw)) + b"\x01" if snappy else raw + b"\x00"
    return body + checksum(body).to_bytes(4, "little")


def handle(offset: int, with_trailer: bytes) -> bytes:
    return varint(offset) + varint(len(with_trailer) - 5)


def footer(meta: bytes, index: bytes) -> bytes:
    return (meta + index).ljust(40, b"\0") + MAGIC


def table(
    entries: Iterable[tuple[bytes, bytes]], snappy: bool = False, block_size: int = 1 << 18
) -> bytes:
    """The bytes of a complete table."""
    out = bytearray()
    index = []
    pending: list[tuple[bytes, bytes]] = []

    def put(raw: bytes) -> bytes:
        written = stored(raw, snappy)
        found = handle(len(out), written)
        out.extend(written)
        return found

    for key, value in entries:
        pending.append((key, value))
        if sum(len(k) + len(v) for k, v in pending) >= block_size:
            index.append((key, put(block(pending))))
            pending = []
    if pending:
        index.append((pending[-1][0], put(block(pending))))
    end = footer(put(block([])), put(block(index, 1)))
    return bytes(out) + end


def read(path: Path) -> dict[bytes, bytes]:
    """What a table holds."""
    with Table(Source(path), verify=True) as opened:
        return dict(opened.entries())


def save(prefix: Path, tensors: Mapping[str, Any]) -> None:
    """Let TensorFlow write one tensor under each name, and nothing else."""
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.convert_to_tensor(value) for value in tensors.values()],
    )


def same(found: Any, wanted: Any) -> bool:
    """Whether two arrays have the same dtype, shape and bits."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return False
    if found.dtype == object:
        return bool(list(found.flat) == list(wanted.flat))
    return found.tobytes() == wanted.tobytes()


def by_tensorflow(prefix: str | Path) -> dict[str, Any]:
    """What TensorFlow's own reader reads, by its own names."""
    reader = tf.train.load_checkpoint(str(prefix))
    found = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    # A scalar string comes as bytes, which numpy would cut at its last zeros.
    return {n: np.array(a, object) if isinstance(a, bytes) else a for n, a in found.items()}


@pytest.fixture(scope="session")
def tables() -> SimpleNamespace:
    """The functions of this module."""
    functions = (varint, mask, checksum, block, stored, handle, footer, table, read)
    functions += (save, same, by_tensorflow)
    return SimpleNamespace(**{function.__name__: function for function in functions})
