"""The attributes of an object, in its header or in a heap.

Source: HDF5 File Format Specification 3.0, "Attribute Message" and "Attribute Info Message".
"""

from __future__ import annotations

from initreg_formats.h5.hdf5 import headers
from initreg_formats.h5.hdf5.content import UNDEFINED, Bad, Content, Unknown, number
from initreg_formats.h5.hdf5.datatypes import Type, datatype
from initreg_formats.h5.hdf5.headers import Header, Message, resolved
from initreg_formats.h5.hdf5.heaps import FractalHeap
from initreg_formats.h5.hdf5.messages import Space, space
from initreg_formats.h5.hdf5.trees import records


class Attribute:
    """An attribute. Its type and its dataspace are parsed when they are asked for."""

    __slots__ = ("_space", "_type", "content", "data", "name")

    def __init__(
        self, content: Content, name: bytes, data: bytes, kind: Message, extent: Message
    ) -> None:
        self.content = content
        self.name = name
        self.data = data
        self._type = kind
        self._space = extent

    def type(self) -> Type:
        """The type of its elements."""
        return datatype(self._body(self._type))

    def space(self) -> Space:
        """Its shape."""
        return space(self._body(self._space))

    def _body(self, message: Message) -> bytes:
        return resolved(self.content, message) if message.flags else message.body


def attributes(content: Content, header: Header) -> dict[str, Attribute]:
    """The attributes of an object, by name."""
    bodies = [each.body for each in header.all(headers.ATTRIBUTE) if not each.flags & 2]
    for message in header.all(headers.ATTRIBUTE_INFO)[:1]:
        data = message.body
        at = 4 if number(data, 1, 1) & 1 else 2
        heap, tree = number(data, at, 8), number(data, at + 8, 8)
        if heap != UNDEFINED:
            found = FractalHeap(content, heap)
            # Those that are shared are in a heap of the file's.
            of_its_own = (r for r in records(content, tree, (8,)) if not number(r, 8, 1) & 2)
            bodies += [found.get(record[:8]) for record in of_its_own]
    made = [_attribute(content, body) for body in bodies]
    return {each.name.decode("utf-8", "backslashreplace"): each for each in made}


def _attribute(content: Content, data: bytes) -> Attribute:
    version, flags = number(data, 0, 1), number(data, 1, 1)
    if version not in (1, 2, 3):
        raise Unknown(f"an attribute of version {version}")
    at = 9 if version == 3 else 8
    parts = []
    for place in (2, 4, 6):
        size = number(data, place, 2)
        if at + size > len(data):
            raise Bad("an attribute ends too early")
        parts.append(data[at : at + size])
        at += (size + 7) // 8 * 8 if version == 1 else size
    name, kind, extent = parts
    shared = [0, 0] if version == 1 else [headers.SHARED * (flags >> i & 1) for i in (0, 1)]
    return Attribute(
        content,
        name.partition(b"\0")[0],
        data[at:],
        Message(headers.TYPE, shared[0], kind, 0),
        Message(headers.SPACE, shared[1], extent, 0),
    )
