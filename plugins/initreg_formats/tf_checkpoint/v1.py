"""V1 checkpoints, of 2015 and 2016: tables whose values are the tensors.

The first key is "". Its value lists the variables and their slices. Each slice is the value of a
key of its own: a protocol buffer with packed numbers.

Source: TensorFlow's core/util/saved_tensor_slice.proto, tensor_slice_reader.cc and
core/framework/tensor.proto.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, cast

from initreg import DamagedFile, OpenOptions, Source, dtypes
from initreg.format_tools.files import FilePath, which_are_there
from initreg_formats.shared.protobuf import BYTES, VARINT, Malformed, fields
from initreg_formats.shared.tf_dtypes import DTYPES, STRING
from initreg_formats.tf_checkpoint.entry import (
    MOST_SLICES,
    Slice,
    check_boxes,
    covers,
    parse_shape,
    parse_slice,
    slice_key,
)
from initreg_formats.tf_checkpoint.leveldb import Handle, Table

_PART = re.compile(r"(.+)-(?:\d{5}|\?{5})-of-(\d{5})")
HEADER_KEY = b""

# Where a TensorProto keeps the values of each dtype that V1 knows: the field, and how the values
# are packed in it.
_VARINTS = "varints"
_INT, _HALF, _STRINGS = 7, 13, 8
_FIELDS = {
    1: (5, "<f4"),
    2: (6, "<f8"),
    8: (9, "<c8"),
    9: (10, _VARINTS),
    10: (11, _VARINTS),
    14: (_HALF, _VARINTS),
    18: (12, "<c16"),
    19: (_HALF, _VARINTS),
    22: (16, _VARINTS),
    23: (17, _VARINTS),
    **dict.fromkeys((3, 4, 5, 6, 11, 12, 13, 15, 16, 17), (_INT, _VARINTS)),
}
_CHUNK = 1 << 20  # bytes of varints that are unpacked at a time


def parts(file: Source) -> list[Source]:
    """All files of the checkpoint that ``file`` belongs to. Raises DamagedFile if one is missing,
    RefusedFile if one is a link out of the folder."""
    path = file.path
    assert path is not None
    match = _PART.fullmatch(path.name)
    if match is None:
        return [file]
    count = int(match[2])
    names = [f"{match[1]}-{n:05d}-of-{match[2]}" for n in range(count)]
    there = which_are_there(path.parent, names)
    missing = [name for name in names if name not in there]
    if missing:
        raise DamagedFile(
            f"{path}: missing {len(missing)} of the {count} files: {', '.join(missing[:5])}. "
            f"Copy them into {path.parent}"
        )
    return [file.part(name) for name in names]


def pattern(path: FilePath) -> FilePath:
    """The pattern by which TensorFlow opens the checkpoint that ``path`` belongs to."""
    match = _PART.fullmatch(path.name)
    return path if match is None else path.with_name(f"{match[1]}-?????-of-{match[2]}")


def open_v1(files: Sequence[Source], options: OpenOptions) -> dict[str, Variable]:
    """Every variable by its name. ``files`` are those of the checkpoint. Raises DamagedFile."""
    found: dict[str, Variable] = {}
    path = files[0].path
    for each in files:
        file = each.path
        part = _File(each, options.verify)
        for name, dtype, shape, slices in part.variables():
            known = found.setdefault(name, Variable(f"{path}: array {name!r}", shape, dtype))
            if (known.shape, known.number) != (shape, dtype):
                raise DamagedFile(
                    f"{file}: array {name!r} is {DTYPES[dtype]} {shape} here, but "
                    f"{known.dtype} {known.shape} in another file of the checkpoint. Copy all "
                    "files of it again"
                )
            known.pieces += [_Piece(part, slice_key(name.encode(), each), each) for each in slices]
    for variable in found.values():
        variable.check()
    return dict(sorted(found.items()))


class _File:
    """One of the files. It is opened anew for each block that is read, and has to be the file that
    was listed."""

    def __init__(self, source: Source, verify: bool) -> None:
        assert source.path is not None
        self.path = path = source.path
        self._source = source
        self._verify = verify
        with self._table() as table:
            self._blocks: list[tuple[bytes, Handle]] = list(table.listed())
            first = table.first()
        if first is None or first[0] != HEADER_KEY:
            raise DamagedFile(f"{path}: has no header, so it is not a TensorFlow checkpoint")
        self._header = first[1]
        self._held: tuple[Handle, dict[bytes, bytes]] | None = None

    def _table(self) -> Table:
        return Table(self._source, self._verify)

    def variables(self) -> Iterator[tuple[str, int, tuple[int, ...], list[Slice]]]:
        """For each variable: its name, dtype and shape, and the slices in this file."""
        try:
            for number, wire, _, meta in fields(self._header):
                if number != 1 or wire != BYTES:
                    continue
                for inner, kind, _, tensor in fields(meta):
                    if inner == 1 and kind == BYTES:
                        yield _variable(tensor)
        except (Malformed, UnicodeDecodeError) as error:
            raise DamagedFile(
                f"{self.path}: its header is damaged: it has {error}. Download or copy it again"
            ) from error

    def value(self, key: bytes) -> bytes:
        """What is stored under ``key``. Raises Malformed, DamagedFile.

        The block of the key stays in memory for the keys after it, until its last one is asked for.
        """
        at = bisect_left(self._blocks, key, key=itemgetter(0))
        block = self._block(self._blocks[at][1]) if at < len(self._blocks) else {}
        if key not in block:
            raise Malformed(f"a slice that {self.path.name} lists, but does not hold")
        if key == next(reversed(block)):
            self._held = None
        return block[key]

    def _block(self, handle: Handle) -> dict[bytes, bytes]:
        # Without a lock, which a forked child could find held. Two threads may read a block twice.
        held = self._held
        if held is None or held[0] != handle:
            self._held = held = None  # frees its memory before the next block is read
            with self._table() as table:
                held = handle, table.block(handle)
            self._held = held
        return held[1]


class _Piece(NamedTuple):
    file: _File
    key: bytes
    slice: Slice


class Variable:
    """One variable, read when it is asked for."""

    has_checksum = True  # each block of the table has one

    def __init__(self, what: str, shape: tuple[int, ...], number: int) -> None:
        self.shape = shape
        self.number = number  # of the dtype
        self.dtype = DTYPES[number]
        self.pieces: list[_Piece] = []
        self._what = what

    def check(self) -> None:
        """Raise DamagedFile if its slices lie outside of it, or have another number of elements."""
        try:
            if len(self.pieces) > MOST_SLICES:
                raise Malformed(
                    f"{len(self.pieces):,} slices, where at most {MOST_SLICES:,} are read"
                )
            check_boxes(self.shape, [covers(self.shape, piece.slice) for piece in self.pieces])
        except Malformed as error:
            raise self._damaged(error) from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        try:
            # All slices are read before memory of the variable's size is allocated: only the file
            # says how large that is.
            found = [
                (*covers(self.shape, piece.slice), _values(piece, self.number, self.dtype))
                for piece in self.pieces
            ]
            for _, length, values in found:
                if values.size != math.prod(length):
                    raise Malformed(f"{values.size:,} values in a slice of shape {length}")
            if len(found) == 1:
                return found[0][2].reshape(self.shape)
            whole = np.empty(self.shape, found[0][2].dtype) if found else _nothing(self.dtype)
            covered = np.zeros(self.shape, bool)
            for start, length, values in found:
                box = tuple(slice(a, a + n) for a, n in zip(start, length, strict=True))
                whole[box] = values.reshape(length)
                covered[box] = True
            if not covered.all():
                raise Malformed("slices that overlap, so they do not cover it")
        except Malformed as error:
            raise self._damaged(error) from error
        return whole.reshape(self.shape)

    def _damaged(self, error: Malformed) -> DamagedFile:
        return DamagedFile(f"{self._what} is damaged: it has {error}. Download or copy it again")


def _nothing(dtype: str) -> Any:
    """An empty array, for a variable without elements and without slices."""
    import numpy as np

    return np.empty(0, dtypes.to_numpy(dtype))


def _variable(tensor: bytes) -> tuple[str, int, tuple[int, ...], list[Slice]]:
    """A ``SavedSliceMeta``. Raises Malformed, UnicodeDecodeError."""
    name, dtype, shape = "", 0, b""
    slices = []
    for number, wire, value, content in fields(tensor):
        if number == 1 and wire == BYTES:
            name = content.decode()
        elif number == 2 and wire == BYTES:
            shape = content
        elif number == 3 and wire == VARINT:
            dtype = value
        elif number == 4 and wire == BYTES:
            slices.append(parse_slice(content))
    if dtype != STRING and dtype not in _FIELDS:
        raise Malformed(f"dtype number {dtype} for array {name!r}, which is unknown")
    return name, dtype, parse_shape(shape), slices


def _values(piece: _Piece, dtype: int, name: str) -> Any:
    """The values of one slice, in C order, one axis. Raises Malformed, DamagedFile."""
    import numpy as np

    # A view, because a tensor is cut out of it four times, and would be copied each time.
    saved = cast("bytes", memoryview(piece.file.value(piece.key)))
    tensor = _last(_last(saved, 2), 3)
    if dtype == STRING:
        strings = [
            bytes(text) for field, wire, _, text in fields(tensor) if (field, wire) == (_STRINGS, 2)
        ]
        made: Any = np.empty(len(strings), object)
        made[:] = strings
        return made
    number, packing = _FIELDS[dtype]
    found = []
    for field, wire, _, content in fields(tensor):
        if field != number:
            continue
        if wire != BYTES:
            raise Malformed("values that are not packed")
        found.append(content)
    if len(found) != 1:
        content = b"".join(found)
    if packing == _VARINTS:
        return _unpacked(content, name)
    if len(content) % np.dtype(packing).itemsize:
        raise Malformed("a value that is cut short")
    return np.frombuffer(content, packing).astype(name)


def _last(message: bytes, wanted: int) -> bytes:
    """The last field ``wanted`` of a message, which is the one that counts. Raises Malformed."""
    found = None
    for number, wire, _, content in fields(message):
        if number == wanted and wire == BYTES:
            found = content
    if found is None:
        raise Malformed("a slice without values")
    return found


def _unpacked(content: bytes, name: str) -> Any:
    """Varints as numbers of dtype ``name``. Raises Malformed for one that does not end, or that the
    dtype cannot hold."""
    import numpy as np

    dtype = dtypes.to_numpy(name)
    bits = name in ("float16", "bfloat16")  # their varints are their bits
    kind = np.dtype("u2") if bits else dtype
    data = np.frombuffer(content, "u1")
    made = np.empty(np.count_nonzero(data < 0x80), kind)
    if data.size and data[-1] >= 0x80:
        raise Malformed("a number that does not end")
    at = count = 0
    while at < len(data):
        stops = np.flatnonzero(data[at : at + _CHUNK] < 0x80) + 1
        if not stops.size:
            raise Malformed("a number of more than 64 bits")
        starts = np.concatenate(([0], stops[:-1]))
        lengths = stops - starts
        if lengths.max() > 10:
            raise Malformed("a number of more than 64 bits")
        values = np.zeros(len(stops), "u8")
        for place in range(int(lengths.max())):
            has = lengths > place
            group = data[at + starts[has] + place].astype("u8") & np.uint64(0x7F)
            values[has] |= group << np.uint64(7 * place)
        numbers = values if kind == np.dtype("u8") else values.view("i8")
        some = numbers.astype(kind)
        if (some.astype(numbers.dtype) != numbers).any():
            raise Malformed(f"a number that does not fit into {name}")
        made[count : count + len(some)] = some
        count += len(some)
        at += int(stops[-1])
    return made.view(dtype)
