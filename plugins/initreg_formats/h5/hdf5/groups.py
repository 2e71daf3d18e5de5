"""The links of a group, old or new.

Source: HDF5 File Format Specification 3.0, "Symbol Table Message", "Disk Format: Level 1B - Group
Symbol Table Nodes", "Disk Format: Level 1C - Symbol Table Entry", "Link Info Message" and "Link
Message".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from initreg_formats.h5.hdf5 import headers, heaps, trees
from initreg_formats.h5.hdf5.content import UNDEFINED, Bad, Content, number
from initreg_formats.h5.hdf5.headers import Header

HARD, SOFT, USER = 0, 1, 64  # and above: external links are the first of the user-defined ones
EXTERNAL = USER
_ENTRY = 40  # bytes of a symbol table entry
_IS_SOFT = 2  # its cache type


class Link(NamedTuple):
    """A link: to an ``address`` if it is HARD, otherwise to what ``value`` says."""

    name: bytes
    kind: int
    address: int
    value: bytes = b""


def is_group(header: Header) -> bool:
    """Whether an object is a group."""
    return header.has(headers.SYMBOL_TABLE) or header.has(headers.LINK_INFO)


def links(content: Content, header: Header) -> Iterator[Link]:
    """The links of a group, in any order."""
    if header.has(headers.SYMBOL_TABLE):
        data = header.body(headers.SYMBOL_TABLE)
        yield from _old(content, number(data, 0, 8), number(data, 8, 8))
        return
    for message in header.all(headers.LINK):
        yield _link(message.body)
    data = header.body(headers.LINK_INFO)
    at = 10 if number(data, 1, 1) & 1 else 2
    heap, tree = number(data, at, 8), number(data, at + 8, 8)
    if heap != UNDEFINED:
        found = heaps.FractalHeap(content, heap)
        for record in trees.records(content, tree, (5,)):
            yield _link(found.get(record[4:]))


def _old(content: Content, tree: int, heap: int) -> Iterator[Link]:
    names = heaps.local_heap(content, heap)
    for _, address in trees.old_nodes(content, tree, 0, 8):
        head = content.signed(address, 8, b"SNOD\1")
        count = number(head, 6, 2)
        data = content.read(address + 8, count * _ENTRY)
        for at in range(0, count * _ENTRY, _ENTRY):
            name = heaps.text(names, number(data, at, 8))
            if number(data, at + 16, 4) == _IS_SOFT:
                value = heaps.text(names, number(data, at + 24, 4))
                yield Link(name, SOFT, UNDEFINED, value)
            else:
                yield Link(name, HARD, number(data, at + 8, 8))


def _link(data: bytes) -> Link:
    """A link message."""
    version, flags = number(data, 0, 1), number(data, 1, 1)
    if version != 1:
        raise Bad(f"a link has version {version}")
    at = 2
    kind = number(data, at, 1) if flags & 8 else HARD
    at += (1 if flags & 8 else 0) + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    size = number(data, at, width)
    at += width
    name, at = data[at : at + size], at + size
    if kind == HARD:
        return Link(name, kind, number(data, at, 8))
    length = number(data, at, 2)
    value = data[at + 2 : at + 2 + length]
    if len(value) != length or len(name) != size:
        raise Bad("a link ends too early")
    return Link(name, kind, UNDEFINED, value)


def external(value: bytes) -> tuple[bytes, bytes]:
    """The file and the path in it that an external link leads to."""
    file, _, path = value[1:].partition(b"\0")
    return file, path.partition(b"\0")[0]
