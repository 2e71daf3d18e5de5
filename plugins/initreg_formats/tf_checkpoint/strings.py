"""Tensors of strings: the lengths, a checksum of the lengths, then the bytes of all strings.

Source of the layout, and of what the checksums cover: ``WriteStringTensor`` and
``ReadStringTensor`` in TensorFlow's core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

import math
import sys
from array import array
from typing import Any, NamedTuple

from initreg import DamagedFile, Source
from initreg_formats.shared.protobuf import Malformed, varint
from initreg_formats.tf_checkpoint.leveldb import unmask

_CHECKSUM = 4  # bytes


class Piece(NamedTuple):
    """Where the strings of one tensor, or of one slice of it, lie.

    ``crc`` is the crc32c of all of them, unmasked. ``byteorder`` is that of the machine that wrote
    them.
    """

    file: Source
    offset: int
    size: int
    shape: tuple[int, ...]
    crc: int
    byteorder: str


class Strings:
    """A tensor of strings, read when it is asked for, as an array of ``bytes`` objects.

    ``parts`` are its slices: the first index on every axis, and where the slice lies.
    """

    dtype = "string"
    has_checksum = True

    def __init__(
        self,
        what: str,
        shape: tuple[int, ...],
        parts: tuple[tuple[tuple[int, ...], Piece], ...],
        aliases: tuple[str, ...],
        verify: bool,
    ) -> None:
        self.shape = shape
        self.aliases = aliases
        self._what = what
        self._parts = parts
        self._verify = verify

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        whole: Any = np.empty(self.shape, object)
        for start, piece in self._parts:
            part = np.empty(math.prod(piece.shape), object)
            part[:] = read_strings(piece, self._what, self._verify)
            box = tuple(slice(a, a + n) for a, n in zip(start, piece.shape, strict=True))
            # Without the ellipsis a 0-d array of objects would become an element itself.
            whole[(*box, ...)] = part.reshape(piece.shape)
        if any(element is None for element in whole.flat):
            raise DamagedFile(
                f"{self._what} of shape {self.shape} is not covered by its slices. Download or "
                "copy the checkpoint again"
            )
        return whole


def check_piece(piece: Piece) -> None:
    """Raise Malformed if the file is too small for the strings that the entry lists."""
    if piece.offset + piece.size > piece.file.size:
        assert piece.file.path is not None
        raise Malformed(
            f"strings up to byte {piece.offset + piece.size:,} of {piece.file.path.name}, which "
            f"has {piece.file.size:,} bytes, so the file is truncated or the index is wrong"
        )
    count = math.prod(piece.shape)
    if count and count + _CHECKSUM > piece.size:  # a length takes a byte or more
        raise Malformed(f"{count:,} strings in {piece.size:,} bytes, which is impossible")


def read_strings(piece: Piece, what: str, verify: bool) -> list[bytes]:
    """The strings of one piece, in C order. Raises DamagedFile, naming ``what``."""
    data = piece.file.read(piece.offset, piece.size)
    try:
        if len(data) != piece.size:
            raise Malformed(f"{len(data):,} bytes of {piece.size:,}, so the file is truncated")
        return _parse(data, piece, verify)
    except Malformed as error:
        raise DamagedFile(
            f"{what} in {piece.file.label} is damaged: it has {error}. Download or copy the file "
            "again"
        ) from error


def _parse(data: bytes, piece: Piece, verify: bool) -> list[bytes]:
    count = math.prod(piece.shape)
    if not data:
        return []
    lengths = []
    at = 0
    for _ in range(count):
        length, at = varint(data, at, len(data))
        lengths.append(length)
    if at + _CHECKSUM + sum(lengths) != len(data):
        raise Malformed("strings whose lengths do not add up to its size")
    if verify:
        _verify(data, lengths, at, piece)
    strings = []
    at += _CHECKSUM
    for length in lengths:
        strings.append(data[at : at + length])
        at += length
    return strings


def _verify(data: bytes, lengths: list[int], at: int, piece: Piece) -> None:
    """Check both checksums. They cover the lengths as integers, not as varints."""
    from fastcrc import crc32

    order: Any = piece.byteorder
    if max(lengths, default=0) < 1 << 32:
        spelt = array("I", lengths)
        if order != sys.byteorder:
            spelt.byteswap()
        found = crc32.iscsi(spelt.tobytes())
    else:
        each = (n.to_bytes(4 if n < 1 << 32 else 8, order) for n in lengths)
        found = crc32.iscsi(b"".join(each))
    expected = unmask(int.from_bytes(data[at : at + _CHECKSUM], order))
    if found != expected:
        raise Malformed(f"lengths that fail their crc32c: {found:08x}, not {expected:08x}")
    found = crc32.iscsi(data[at:], found)
    if found != piece.crc:
        raise Malformed(f"strings that fail their crc32c: {found:08x}, not {piece.crc:08x}")
