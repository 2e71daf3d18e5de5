"""What the messages of a dataset's header mean, but for its datatype.

Source: HDF5 File Format Specification 3.0, "Disk Format: Level 2A2 - Data Object Header Messages":
"Dataspace Message", "Data Storage - Fill Value (Old) Message", "Data Storage - Fill Value Message",
"Data Layout Message", "Data Storage - Filter Pipeline Message".
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from initreg_formats.h5.hdf5 import headers
from initreg_formats.h5.hdf5.content import UNDEFINED, Bad, Unknown, number
from initreg_formats.h5.hdf5.headers import Header

COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)
_MOST_AXES = 32  # H5S_MAX_RANK
_MOST_FILTERS = 32  # H5Z_MAX_NFILTERS


class Space(NamedTuple):
    """A dataspace. An axis without limit has the limit UNDEFINED."""

    shape: tuple[int, ...]
    limits: tuple[int, ...]
    is_null: bool


def space(data: bytes) -> Space:
    """A dataspace message."""
    version, axes, flags = number(data, 0, 1), number(data, 1, 1), number(data, 2, 1)
    if version not in (1, 2) or axes > _MOST_AXES:
        raise Bad(f"a dataspace has version {version} and {axes} axes")
    at = 8 if version == 1 else 4
    kind = number(data, 3, 1) if version == 2 else (1 if axes else 0)
    if kind > 2 or (kind != 1 and axes):
        raise Bad(f"a dataspace of class {kind} has {axes} axes")
    shape = tuple(number(data, at + 8 * i, 8) for i in range(axes))
    at += 8 * axes
    limits = tuple(number(data, at + 8 * i, 8) for i in range(axes)) if flags & 1 else shape
    if any(length > limit for length, limit in zip(shape, limits, strict=True)):
        raise Bad(f"its shape {shape} is beyond its limits {limits}")
    return Space(shape, limits, kind == 2)


class Layout(NamedTuple):
    """Where the elements of a dataset are.

    Args:
        kind: COMPACT, CONTIGUOUS, CHUNKED or VIRTUAL.
        address: of the elements, or of the index of the chunks. UNDEFINED if there are none.
        size: of the elements in bytes, if they are compact or contiguous. None if the message does
            not say.
        chunk: the shape of a chunk, and the size of an element.
        index_kind: the kind of index: 0 is a B-tree of version 1, others are as in the message.
        parameters: what the message says of the index.
        is_edge_plain: whether chunks that reach beyond the array are stored without filters.
        width: the bytes of the size of a chunk in an index, None if the size of a whole chunk says.
    """

    kind: int
    address: int
    size: int | None = None
    chunk: tuple[int, ...] = ()
    index_kind: int = 0
    parameters: bytes = b""
    is_edge_plain: bool = False
    width: int | None = None


def layout(header: Header) -> Layout:
    """The data layout message of a dataset."""
    found = header.all(headers.LAYOUT)
    if not found:
        raise Bad("its header has no data layout")
    data, address = found[0].body, found[0].address
    version = number(data, 0, 1)
    if version in (1, 2):
        return _old_layout(data, address)
    if version not in (3, 4, 5):
        raise Unknown(f"a data layout of version {version}")
    kind = number(data, 1, 1)
    if kind == COMPACT:
        return Layout(kind, _inside(address + 4, number(data, 2, 2), data, 4), number(data, 2, 2))
    if kind == CONTIGUOUS:
        return Layout(kind, number(data, 2, 8), number(data, 10, 8))
    if kind == CHUNKED and version == 3:
        axes = _axes(number(data, 2, 1))
        return Layout(kind, number(data, 3, 8), chunk=_numbers(data, 11, axes, 4))
    if kind == CHUNKED:
        flags, axes, width = number(data, 2, 1), _axes(number(data, 3, 1)), number(data, 4, 1)
        at = 5 + axes * width
        index = number(data, at, 1)
        length = {1: 12 if flags & 2 else 0, 2: 0, 3: 1, 4: 5, 5: 6}.get(index)
        if length is None or not 0 < width <= 8:
            raise Bad(f"chunks with an index of type {index}")
        parameters = data[at + 1 : at + 1 + length]
        place = number(data, at + 1 + length, 8)
        chunk = _numbers(data, 5, axes, width)
        # Version 5 has 8 bytes for the size of a chunk, in every index. The specification 3.0 does
        # not know it. Source: H5Dfarray.c of HDF5 2.0, which writes it.
        size = 8 if version == 5 else None
        return Layout(kind, place, None, chunk, index, parameters, bool(flags & 1), size)
    if kind == VIRTUAL and version >= 4:
        return Layout(kind, UNDEFINED)
    raise Bad(f"a data layout of class {kind}")


def _old_layout(data: bytes, address: int) -> Layout:
    axes, kind = number(data, 1, 1), number(data, 2, 1)
    at = 8 if kind == COMPACT else 16
    if kind == COMPACT:
        at += 4 * axes
        size = number(data, at, 4)
        return Layout(kind, _inside(address + at + 4, size, data, at + 4), size)
    if kind == CONTIGUOUS:
        return Layout(kind, number(data, 8, 8))
    if kind == CHUNKED:
        return Layout(kind, number(data, 8, 8), chunk=_numbers(data, at, _axes(axes), 4))
    raise Bad(f"a data layout of class {kind}")


def _inside(address: int, size: int, data: bytes, at: int) -> int:
    if at + size > len(data):
        raise Bad("its elements end outside of its header")
    return address


def _axes(count: int) -> int:
    if not 1 < count <= _MOST_AXES + 1:
        raise Bad(f"chunks of {count - 1} axes")
    return count


def _numbers(data: bytes, at: int, count: int, size: int) -> tuple[int, ...]:
    return tuple(number(data, at + size * i, size) for i in range(count))


def fill_value(header: Header, size: int) -> bytes:
    """One element of ``size`` bytes, for those that were never written. Zeros by default."""
    for message in header.all(headers.FILL) + header.all(headers.OLD_FILL):
        data = message.body
        at = 0
        if message.flags & headers.SHARED:
            raise Unknown("a fill value that several objects share")
        if message.kind == headers.FILL:
            version = number(data, 0, 1)
            at = 2 if version == 3 else 4
            is_there = number(data, 1, 1) & 0x20 if version == 3 else number(data, 3, 1)
            if version not in (1, 2, 3):
                raise Bad(f"a fill value of version {version}")
            if not is_there:
                return bytes(size)
        length = number(data, at, 4)
        if length >= 1 << 31 or length == 0:  # version 1 has a length of -1 if there is none
            return bytes(size)
        found = data[at + 4 : at + 4 + length]
        if len(found) != size:
            raise Bad(f"its fill value has {len(found)} bytes, but its elements have {size}")
        return found
    return bytes(size)


class Filter(NamedTuple):
    """A filter: its registered number, its name if the file has one, and its parameters."""

    code: int
    name: str
    values: tuple[int, ...]


def filters(header: Header) -> list[Filter]:
    """The filters of a dataset, in the order in which they were applied."""
    found: list[Filter] = []
    for message in header.all(headers.FILTERS)[:1]:
        data = header.body(message.kind)
        version, count = number(data, 0, 1), number(data, 1, 1)
        if version not in (1, 2) or count > _MOST_FILTERS:
            raise Bad(f"{count} filters, of version {version}")
        at = 8 if version == 1 else 2
        for _ in range(count):
            code = number(data, at, 2)
            has_name = version == 1 or code >= 256
            length = number(data, at + 2, 2) if has_name else 0
            at += 4 if has_name else 2
            values = number(data, at + 2, 2)
            at += 4
            name = data[at : at + length].partition(b"\0")[0].decode("utf-8", "replace")
            at += (length + 7) // 8 * 8 if version == 1 else length
            if at + 4 * values > len(data):
                raise Bad("a filter's parameters end outside of its header")
            found.append(Filter(code, name, struct.unpack_from(f"<{values}I", data, at)))
            at += 4 * values + (4 if version == 1 and values % 2 else 0)
    return found
