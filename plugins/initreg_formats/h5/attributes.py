"""Attributes that hold names.

h5py reads names of a fixed length. Those of variable length, which h5py writes for a list of bytes
and so Keras too, are looked up in the object's header here, for the reason that ``strings.py``
gives.

Source of the layout: HDF5 File Format Specification 3.0, "Data Object Headers", "Object Header
Continuation Message" and "Attribute Message".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from initreg import DamagedFile, RefusedFile
from initreg_formats.h5.container import Container, h5_errors
from initreg_formats.h5.nesting import refuse_deep
from initreg_formats.h5.strings import DESCRIPTOR, read_strings
from initreg_formats.h5.walk import as_text

_CONTINUATION = 0x10
_ATTRIBUTE = 0x0C
_SHARED = 0x02  # a flag: the message lies elsewhere


def has_attribute(owner: Any, name: str, container: Container) -> bool:
    """Whether an object, by its identifier in h5py, has the attribute."""
    import h5py

    with h5_errors(container.label):
        return bool(h5py.h5a.exists(owner, name.encode()))


def string_list(owner: Any, name: str, container: Container) -> list[str]:
    """The strings in an attribute; none in one that is empty. Raises DamagedFile, RefusedFile."""
    import h5py

    what = f"{container.label}: attribute {name!r}"
    with h5_errors(what):
        attribute = h5py.h5a.open(owner, name.encode())
        count = 0 if attribute.shape is None else math.prod(attribute.shape)
        if count == 0:
            return []
        refuse_deep(attribute.get_type(), what)
        dtype = attribute.dtype
        if count * max(1, dtype.itemsize) > container.length:
            raise DamagedFile(f"{what} claims more bytes than the file has")
        if h5py.check_string_dtype(dtype) is None:
            raise DamagedFile(f"{what} is no list of names")
        if not dtype.hasobject:
            import numpy as np

            fixed = np.empty(attribute.shape, dtype)
            attribute.read(fixed)
            return [as_text(item) for item in fixed.reshape(-1).tolist()]
        data = _descriptors(owner, name.encode(), count * DESCRIPTOR, container, what)
        return [as_text(item) for item in read_strings(container, data, what)]


def _descriptors(owner: Any, name: bytes, size: int, container: Container, what: str) -> memoryview:
    """The first ``size`` bytes of an attribute's data as they lie in the file."""
    import h5py

    address = h5py.h5o.get_info(owner).addr + container.user_block
    for kind, flags, body in _messages(container, address, what):
        if kind == _ATTRIBUTE and not flags & _SHARED:
            found, data = _attribute(body)
            if found == name and len(data) >= size:
                return data[:size]
    raise RefusedFile(
        f"{what} has strings of variable length outside of its object's header, which HDF5 does "
        "not read safely. Read the file with h5py, and pass the arrays as a dict"
    )


def _messages(
    container: Container, address: int, what: str
) -> Iterator[tuple[int, int, memoryview]]:
    """Type, flags and body of each message of the object header at ``address``."""
    head = container.read(address, 16, what)
    if head.startswith(b"OHDR"):
        order = 2 if head[5] & 0x04 else 0
        at = address + 6 + (16 if head[5] & 0x20 else 0) + (4 if head[5] & 0x10 else 0)
        width = 1 << (head[5] & 0x03)
        size = int.from_bytes(container.read(at, width, what), "little")
        blocks, first, last = [(at + width, size)], 4, 4
    else:
        order = -1
        blocks, first, last = [(address + 16, int.from_bytes(head[8:12], "little"))], 0, 0
    seen = 0
    for start, size in blocks:  # grows while it is gone through
        seen += size
        if seen > container.length:
            raise DamagedFile(f"{what}: its object's header is longer than the file")
        block = memoryview(container.read(start, size, what))
        for kind, flags, body in _split(block, order):
            if kind == _CONTINUATION and len(body) >= 16:
                begin = int.from_bytes(body[:8], "little") + container.user_block + first
                blocks.append((begin, int.from_bytes(body[8:16], "little") - first - last))
            yield kind, flags, body


def _split(block: memoryview, order: int) -> Iterator[tuple[int, int, memoryview]]:
    """The messages in one block. ``order``: -1 in headers of version 1, else the bytes of the
    creation order in each message."""
    at, header = 0, 8 if order < 0 else 4 + order
    while at + header <= len(block):
        if order < 0:
            kind = int.from_bytes(block[at : at + 2], "little")
            size, flags = int.from_bytes(block[at + 2 : at + 4], "little"), block[at + 4]
        else:
            kind, flags = block[at], block[at + 3]
            size = int.from_bytes(block[at + 1 : at + 3], "little")
        yield kind, flags, block[at + header : at + header + size]
        at += header + size


def _attribute(body: memoryview) -> tuple[bytes, memoryview]:
    """The name and the data of an attribute message; no data if it is damaged."""
    if len(body) < 9:
        return b"", memoryview(b"")
    version = body[0]
    sizes = [int.from_bytes(body[at : at + 2], "little") for at in (2, 4, 6)]
    start = 9 if version == 3 else 8
    name = bytes(body[start : start + sizes[0]]).partition(b"\0")[0]
    for size in sizes:
        start += (size + 7) // 8 * 8 if version == 1 else size
    return name, body[start:]
